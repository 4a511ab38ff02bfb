import type {
  Ack, GetItemsOneBoughtTogetherQuery, GetItemsOneSimilarQuery, GetItemsQuery, GetSearchQuery, GetTrendingQuery, GetUsersOneSimilarQuery,
  Interaction, InterestView, Item, ItemPage, PlacementFeedback, Query, Slate, Story, User, UserNeighbours,
} from "./schema.js";

export type * from "./schema.js";

/** A shopper: one of the two ids. */
export type Person = { user_id: string; anon_id?: undefined } | { anon_id: string; user_id?: undefined };

/** Fields of a record to change; null sets one back to its default. */
export type Patch<T> = { [K in keyof T]?: T[K] | null };

export interface Options {
  /** Most time of a whole call, with every pause and further attempt; 2,000 by default. */
  timeoutMs?: number;
  /** How often a call is tried on 429, 502, 503, 504 and on connections that fail; 3 by default. */
  attempts?: number;
  /** How long `track` collects events before they leave; 200 by default. */
  everyMs?: number;
  /** Most events that wait, 10,000 by default; when that many wait, each new one takes the place of the oldest. */
  outbox?: number;
  /** Told of every event that will not be sent; a warning on the console by default. */
  onDrop?: (lost: Dropped) => void;
}

/** Events that will not be sent, as JSON, and why: `full`, `closed`, `unusable`, or the code of the server's refusal. */
export interface Dropped {
  reason: string;
  events: string[];
  message: string;
}

export interface SlateOptions {
  /** false: nobody will see the slate in this order, so it is not logged as shown. */
  shown?: boolean;
  /** Item ids to show when there is no answer. With it, [] too, the call never fails: `degraded` says what went wrong. */
  default?: readonly string[];
}

/** What went wrong: a refusal of the server in its own words, or no answer at all. */
export declare class EndcapError extends Error {
  readonly name: "EndcapError";
  /** Of the answer; 0 when none came. */
  readonly status: number;
  /** Stable, for programs: `invalid_input`, `unauthorized`, `not_found`, `overloaded`, `unreachable`, `bad_answer` ... */
  readonly code: string;
  /** What mends it. */
  readonly remedy: string;
  /** The part of the request that is to blame, where one is. */
  readonly field?: string;
  /** When the server asks to be left alone for a while. */
  readonly retryAfterMs?: number;
}

/** Talks to one server. Make one and keep it: it holds the outbox, and the offset of what was sent. */
export declare class Client {
  /** `key`: a browser key in a page, which every visitor can read; a server key in a backend. */
  constructor(url: string | URL, key?: string, options?: Options);

  /** A slate that knows every event this client has sent. */
  recommend(query?: Query, options?: SlateOptions): Promise<Slate>;
  /** Items like this one. */
  similar(itemId: string, query?: Asked<GetItemsOneSimilarQuery>, options?: SlateOptions): Promise<Slate>;
  /** Items bought with this one. */
  boughtTogether(itemId: string, query?: Asked<GetItemsOneBoughtTogetherQuery>, options?: SlateOptions): Promise<Slate>;
  /** What is popular here and now. */
  trending(query?: Asked<GetTrendingQuery>, options?: SlateOptions): Promise<Slate>;
  /** Items for words that a shopper typed, best first. Nothing is logged: send a `search` event. */
  search(q: string, query?: Asked<Omit<GetSearchQuery, "q">>, options?: Pick<SlateOptions, "default">): Promise<Slate>;

  /** Events now; they are on disk when it resolves. Refused ones are in `rejected`. */
  send(...events: (Interaction | readonly Interaction[])[]): Promise<Ack>;
  /** An event soon, in the order of the calls. Never throws. */
  track(event: Interaction): void;
  /** Send what waits now; whether all of it left in time (5,000 ms by default). */
  flush(timeoutMs?: number): Promise<boolean>;
  /** Send what waits, for at most so long, and end; what could not leave is dropped as `closed`. */
  close(timeoutMs?: number): Promise<void>;
  /** Events in the outbox. */
  readonly waiting: number;
  /** Events that were dropped so far, by reason. */
  readonly dropped: Record<string, number>;
  /** The newest event that this client knows to be stored; every question carries it. */
  readonly offset: number;

  /** Create or replace catalogue records, in requests of bounded size. */
  putItems(items: Iterable<Item>): Promise<Ack>;
  /** Change fields of a record. */
  patchItem(itemId: string, fields: Patch<Omit<Item, "item_id">>): Promise<Ack>;
  /** Take an item out of every later slate. */
  deleteItem(itemId: string): Promise<Ack>;
  /** A catalogue record. */
  item(itemId: string): Promise<Item>;
  /** A page of the catalogue. */
  items(query?: GetItemsQuery): Promise<ItemPage>;

  /** Create or replace what the shop says about a user. */
  putUser(user: User): Promise<Ack>;
  /** What the shop said about a user. */
  user(userId: string): Promise<User>;
  /** What the engine believes a shopper wants. */
  interest(person: Person): Promise<InterestView>;
  /** Users with similar histories. */
  similarUsers(userId: string, query?: GetUsersOneSimilarQuery): Promise<UserNeighbours>;
  /** Forget a person and all that was learnt from them. Needs an admin key. */
  erase(person: Person): Promise<void>;

  /** What a placement learnt: arms, positions, joined feedback. */
  feedback(placement: string): Promise<PlacementFeedback>;
  /** A slate and what came of it, by its `request_id`. */
  story(requestId: string): Promise<Story>;
}

/** A question by address; whether it is shown stands in the options. */
type Asked<T> = Omit<T, "shown">;
