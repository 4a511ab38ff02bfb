// Made by tools/make_client_types.py from the server's OpenAPI document. Change the server, not this file.

/** The answer to a write. ``offset`` is the read-your-writes token for ``Query.at_least``. */
export interface Ack {
  accepted: number;
  duplicates: number;
  rejected: Refusal[];
  offset: number;
  durable: boolean;
}

/** What an arm earned lately. */
export interface ArmView {
  arm: string;
  slates: number;
  reward: number;
}

/** What the tracker sends. */
export interface Beacon {
  key?: string;
  anon_id?: string | null;
  events?: Interaction[];
  shelves?: ShelfWish[];
  context?: Context | null;
}

/** One thing to look at: how many of how many items, the first of them by id. */
export interface Blemish {
  code: string;
  n: number;
  of: number;
  examples: string[];
}

/** What a page shows of an item. */
export interface Card {
  item_id: string;
  title?: string | null;
  url?: string | null;
  image?: string | null;
  brand?: string | null;
  price?: number | null;
  list_price?: number | null;
  currency?: string | null;
  availability?: string;
  reason?: string | null;
  why?: string | null;
}

/** One thing that was looked at. */
export interface Check {
  name: string;
  level: "error" | "note" | "ok" | "warning";
  message: string;
  remedy?: string;
}

/** What ``endcap doctor`` would find while the server runs. */
export interface CheckList {
  checks: Check[];
}

/** What would come of these events, had they been sent. Nothing was stored. */
export interface Checked {
  taken: Interaction[];
  rejected: Refusal[];
  duplicates: string[];
  new_items: string[];
}

/** The moment: where, when and on what device. All optional; unknown keys are ignored. */
export interface Context {
  device?: string | null;
  region?: string | null;
  utc_offset_min?: number | null;
  locale?: string | null;
  page?: string | null;
  url?: string | null;
  referrer?: string | null;
  experiment?: string | null;
}

/** A person asked to be forgotten. Holds a keyed hash, never the id, so the proof does not identify anyone. */
export interface Erasure {
  kind?: "erasure";
  event_id: string;
  user_hash: string;
  ts: number;
  received_at?: number;
  n_events?: number;
}

/** The body of every answer with a status of 400 or more. */
export interface ErrorBody {
  error: ErrorDetail;
}

/** What went wrong: ``code`` for programs, ``message`` for people, ``field`` where one is to blame. */
export interface ErrorDetail {
  code: string;
  message: string;
  field?: string | null;
}

/** A batch of events as an object. */
export interface EventsBody {
  events: Interaction[];
}

/** A comparison of variants of one placement. The first variant is what the others are compared with. */
export interface Experiment {
  name: string;
  placement: string;
  variants: Record<string, Variant>;
  kind?: "aa" | "ab" | "interleave";
  unit?: "user";
  share?: number;
  first?: number;
  planned?: number;
  salt?: string;
  guardrails?: Guardrails;
  started_at?: number;
  ended_at?: number;
  stopped?: string;
}

/** Every experiment, ended ones too, in order of start. */
export interface ExperimentList {
  experiments: Experiment[];
}

/** An experiment with its results and the service of the last two minutes. */
export interface ExperimentView {
  experiment: Experiment;
  results: Results | null;
  preference: Preference | null;
  measured: Record<string, Measured>;
}

/** How much a placement may try out, only on slates that are logged as shown. */
export interface ExploreConfig {
  share: number;
  protected: boolean;
  new_items: number;
  arm_floor: number;
  arm_cap: number;
}

/** The configured feeds. */
export interface FeedList {
  feeds: FeedState[];
}

/** What became of a feed the last time. */
export interface FeedState {
  name: string;
  url: string;
  status: string;
  message: string;
  checked_at: number;
  changed_at: number;
  items: number;
  written: number;
  vanished: number;
  refused: number;
}

/** One cause. ``code`` is stable; ``remedy`` says what to do about it. */
export interface Finding {
  code: string;
  message: string;
  remedy?: string;
}

/** The answer to ``WhyNot``: the slate's state and what was found. */
export interface Findings {
  rung: string;
  warmth: string;
  n_items: number;
  degraded: string[];
  findings: Finding[];
}

/** What a variant may cost the service; beyond it the experiment stops. None = not watched. */
export interface Guardrails {
  max_p99_ms?: number | null;
  max_error_share?: number | null;
  max_empty_share?: number | null;
}

/** Whether the process lives, and how far its answers know the log. */
export interface Health {
  status: string;
  offset?: number | null;
}

/** A slate was shown. The items are columns, because slates are many; ``of`` and ``shown`` speak of items. */
export interface Impression {
  kind?: "impression";
  event_id: string;
  request_id: string;
  ts: number;
  received_at?: number;
  user_id?: string | null;
  anon_id?: string | null;
  session_id?: string | null;
  placement?: string;
  items?: string[];
  propensities?: number[];
  ranks?: number[];
  scores?: number[];
  teams?: number[];
  arm?: string;
  arm_propensity?: number;
  variants?: Record<string, string>;
  versions?: Record<string, string>;
  warmth?: string;
  session_events?: number;
  context?: Context | null;
  context_hash?: string;
}

/** A user did something, mostly with an item. This is the shape that ``POST /v1/events`` takes. */
export interface Interaction {
  kind?: "interaction";
  type: "cart_add" | "cart_remove" | "cart_view" | "checkout_start" | "click" | "consume" | "custom" | "dislike" | "follow" | "hide" | "home_view" | "impression" | "like" | "list_view" | "purchase" | "rating" | "refund" | "search" | "share" | "unfollow" | "view" | "wishlist_add" | "wishlist_remove";
  event_id?: string;
  ts?: number;
  received_at?: number;
  user_id?: string | null;
  anon_id?: string | null;
  session_id?: string | null;
  item_id?: string | null;
  variant_id?: string | null;
  quantity?: number;
  price?: number | null;
  currency?: string | null;
  value?: number | null;
  order_id?: string | null;
  cart_id?: string | null;
  placement?: string | null;
  position?: number | null;
  request_id?: string | null;
  query?: string | null;
  category?: string | null;
  consent?: "denied" | "granted" | "unknown";
  context?: Context | null;
  props?: Record<string, unknown> | null;
}

/** A shopper deleted a tag of their interest: what they did with such items no longer counts for them. */
export interface InterestChange {
  kind?: "interest";
  event_id: string;
  ts: number;
  tag: "brand" | "category" | "item";
  name: string;
  received_at?: number;
  user_id?: string | null;
  anon_id?: string | null;
}

/** What the engine believes a user wants now, in words a person can read. */
export interface InterestView {
  user_id: string | null;
  anon_id: string | null;
  warmth: string;
  items: Weighted[];
  categories: Weighted[];
  brands: Weighted[];
  price_level: number | null;
  session_events: number;
  total_events: number;
  consent: "denied" | "granted" | "unknown";
  personalization: boolean;
  offset: number;
}

/** A difference and its confidence sequence; the ends are null while there is too little to say. */
export interface Interval {
  value: number;
  low: number | null;
  high: number | null;
}

/** What is sold. Only ``item_id`` is required. */
export interface Item {
  item_id: string;
  group_id?: string | null;
  sku?: string | null;
  gtin?: string | null;
  mpn?: string | null;
  title?: string | null;
  description?: string | null;
  url?: string | null;
  image_urls?: string[];
  categories?: string[][];
  brand?: string | null;
  price?: number | null;
  list_price?: number | null;
  currency?: string | null;
  availability?: "backorder" | "discontinued" | "in_stock" | "out_of_stock" | "preorder";
  stock_qty?: number | null;
  color?: string | null;
  size?: string | null;
  material?: string | null;
  pattern?: string | null;
  gender?: string | null;
  age_group?: string | null;
  condition?: string | null;
  tags?: string[];
  rating_avg?: number | null;
  rating_count?: number | null;
  language?: string | null;
  published_at?: number | null;
  expires_at?: number | null;
  adult?: boolean;
  hidden?: boolean;
  attributes?: Record<string, string | number | boolean | string[]>;
  vectors?: Record<string, number[]>;
  updated_at?: number | null;
}

/** The catalogue changed: ``item`` is the whole new record, or None when the item is deleted. */
export interface ItemChange {
  kind?: "item";
  event_id: string;
  item_id: string;
  ts: number;
  received_at?: number;
  item?: Item | null;
}

/** What the engine knows of an item beside its record. */
export interface ItemFacts {
  item_id: string;
  title: string | null;
  status: string;
  on_sale: boolean;
  first_seen: number | null;
  counts: Record<string, Record<string, number>>;
  vectors: string[];
}

/** A page of the catalogue; ``next`` is the ``after`` of the following page, absent on the last one. */
export interface ItemPage {
  items: Item[];
  next?: string | null;
}

/** An item's vector as it is kept: with length 1. */
export interface ItemVector {
  item_id: string;
  name: string;
  vector: number[];
  encoder: string;
  version: string;
  dim: number;
}

/** Many items as an object. */
export interface ItemsBody {
  items: Item[];
}

/** What goes on beside requests. */
export interface Jobs {
  training: TrainingState | null;
  feeds: number;
  experiments: number;
  live_views: number;
  pending_events: number;
}

/** An event that belongs to the story, and by what. */
export interface JoinedEvent {
  by: string;
  event: Interaction;
}

/** What serves of one kind. */
export interface KindView {
  kind: string;
  number: number;
  since: number;
  before: number[];
}

/** What keeps a loop that learns from its own slates from running away. All off by default. */
export interface LimitsConfig {
  head_share: number;
  novel_share: number;
  item_share: number;
  impressions_per_unit: number;
}

/** The event log. */
export interface LogView {
  offset: number;
  events: number | null;
  bytes: number | null;
  newest_at: number | null;
  durability: string;
}

/** What one variant did lately: numbers of slates. */
export interface Measured {
  slates: number;
  slow: number;
  failed: number;
  empty: number;
}

/** Bytes in memory. */
export interface Memory {
  process: number | null;
  peak: number;
  parts: Record<string, number>;
}

/** Everything stored, oldest first, and what serves. */
export interface ModelList {
  kinds: KindView[];
  models: ModelView[];
  problem: string;
}

/** One stored model. */
export interface ModelView {
  number: number;
  kind: string;
  serving: boolean;
  stored_at: number;
  bytes: number;
  meta: Record<string, unknown>;
  error: string | null;
}

/** An empty object, or no body at all. */
export interface Now {
}

/** One position of a placement. */
export interface PlaceView {
  position: number;
  shown: number;
  clicks: number;
  moved: number;
  theta: number | null;
}

/** One item of a slate. */
export interface Placed {
  item_id: string;
  score: number;
  reasons: Reason[];
  sources: string[];
  propensity?: number;
  rank?: number | null;
  trace?: Record<string, number> | null;
  team?: number | null;
}

/** A named surface and how its list is made. Newest first: fresh. Where people follow each other: friends kindred. Deep models: two_tower youtube gru4rec nextitnet sasrec. */
export interface PlacementConfig {
  sources: string[];
  n: number;
  shows: "" | "groups" | "items" | "people";
  filter: Record<string, unknown> | null;
  seen: "drop" | "keep";
  diversity: number;
  category_cap: number;
  brand_cap: number;
  candidates: number;
  ranker: "linear" | "trained";
  weights: Record<string, number>;
  switch: Record<string, string[]>;
  explore: ExploreConfig;
  limits: LimitsConfig;
  arms: Record<string, Record<string, unknown>>;
}

/** What a placement has learned. */
export interface PlacementFeedback {
  placement: string;
  slates: number;
  immature: number;
  arms: ArmView[];
  positions: PlaceView[];
  joined: Record<string, number>;
}

/** The configured surfaces. */
export interface Placements {
  placements: Record<string, PlacementConfig>;
}

/** The differences to the first variant at one moment; of interleaving, the share of slates it won. */
export interface Point {
  ts: number;
  units: number;
  reward: Record<string, Interval>;
  clicks: Record<string, Interval>;
}

/** An experiment's history, oldest first. */
export interface Points {
  points: Point[];
}

/** How to read a feed now. An empty body is enough. */
export interface Poll {
  force?: boolean;
}

/** Which of two rankers shoppers prefer; valid at any time, however often it is read. */
export interface Preference {
  wins: number;
  losses: number;
  ties: number;
  share: number | null;
  low: number;
  high: number;
  p: number;
}

/** Which model shall serve. */
export interface Promote {
  number: number;
}

/** The state of the catalogue and of what is sent. */
export interface QualityReport {
  listed: number;
  unlisted: number;
  deleted: number;
  findings: Blemish[];
  cleaned: Record<string, number>;
  refused: Record<string, number>;
  seconds: number;
}

/** Refused records; pass the last ``id`` as ``before`` for the following page. */
export interface Quarantine {
  records: Quarantined[];
}

/** One refused record. ``raw`` is what was sent, shortened, undecodable bytes replaced. */
export interface Quarantined {
  id: number;
  received_at: number;
  code: string;
  message: string;
  field: string | null;
  raw: string;
  source: string;
}

/** One request for recommendations. */
export interface Query {
  user_id?: string | null;
  anon_id?: string | null;
  session_id?: string | null;
  placement?: string;
  n?: number;
  ts?: number;
  context?: Context | null;
  items?: string[];
  filter?: Record<string, unknown> | null;
  exclude?: string[];
  at_least?: number;
  budget_ms?: number | null;
  personalization?: boolean;
  explain?: boolean;
}

/** Why an item is on the slate, taken from its score trace. ``share`` is the part of the score it explains, to the next 0.05. */
export interface Reason {
  code: string;
  share?: number;
  item_id?: string | null;
  value?: string | null;
  text?: string | null;
}

/** Why one record was not taken. The others of its batch are. */
export interface Refusal {
  index: number;
  code: string;
  message: string;
  field?: string | null;
  value?: string | null;
}

/** Every report kept, newest first, and the command that makes one. */
export interface ReportList {
  reports: Saved[];
  command: string;
}

/** What the variants brought so far; right at any time, however often it is read. */
export interface Results {
  variants: Record<string, VariantResult>;
  assigned: Record<string, number>;
  crossovers: number;
  sample_ratio_p: number;
  sample_ratio_alarm: boolean;
}

/** Of which kind the one before shall serve again. */
export interface Rollback {
  kind?: string;
}

/** A merchant's rule. ``items`` or ``filter`` say what it acts on. */
export interface Rule {
  name: string;
  action: "block" | "boost" | "bury" | "pin";
  placements: string[];
  items: string[];
  filter: Record<string, unknown> | null;
  position: number;
  factor: number;
  starts_at: string | null;
  ends_at: string | null;
}

/** Every configured rule, in the order of the settings. */
export interface RuleList {
  rules: RuleView[];
}

/** A merchant's rule and whether it holds now. */
export interface RuleView {
  rule: Rule;
  active: boolean;
}

/** One line of the list of reports. */
export interface Saved {
  name: string;
  saved_at: number;
  data: string;
  protocol: string;
  target: string;
  queries: number;
  hr20: number | null;
  error: string | null;
}

/** A verdict with its name and time. */
export interface SavedReport {
  name: string;
  saved_at: number;
  command: string;
  verdict: Record<string, unknown>;
}

/** One value. ``source``: default, preset, a file, a variable, an option; program = by whom built the engine. */
export interface Setting {
  name: string;
  value: unknown;
  source: string;
}

/** Every setting in force, in the order of docs/configuration.md. */
export interface Settings {
  settings: Setting[];
}

/** One shelf, filled. Send its ``request_id`` with a click on one of its cards. */
export interface Shelf {
  request_id: string;
  placement: string;
  items: Card[];
}

/** A shelf that a page has room for. */
export interface ShelfWish {
  placement?: string;
  n?: number;
  items?: string[];
  exclude?: string[];
}

/** One item of the slate and what was credited to it. */
export interface ShownItem {
  item_id: string;
  position: number;
  propensity: number;
  rank: number;
  score: number;
  deeds: string[];
}

/** The ordered answer, and how it came about. */
export interface Slate {
  request_id: string;
  items: Placed[];
  placement: string;
  rung: "fewer_sources" | "full" | "no_model" | "popular" | "refuse" | "session_only" | "static";
  degraded: string[];
  offset: number;
  ts: number;
  strategy: string;
  warmth: string;
  session_events: number;
  arm: string;
  arm_propensity: number;
  variants: Record<string, string>;
  impression: "bot" | "logged" | "not_asked" | "overloaded" | "prefetch";
  versions: Record<string, string>;
  missing_ids: string[];
  explanation: Record<string, unknown> | null;
}

/** What is saved, newest first. */
export interface SnapshotList {
  snapshots: SnapshotView[];
}

/** One saved state. */
export interface SnapshotView {
  offset: number;
  saved_at: number;
  bytes: number;
}

/** What RudderStack's browser library asks before it sends: a source that is on, without other destinations. */
export interface Source {
  id: string;
  name: string;
  writeKey: string;
  enabled: boolean;
  workspaceId: string;
  config: Record<string, unknown>;
  destinations: unknown[];
  connections: unknown[];
  dataplanes: Record<string, unknown>;
}

/** The answer of ``/sourceConfig``. */
export interface SourceConfig {
  source: Source;
  updatedAt: string;
}

/** How far a training is, as its process tells it. */
export interface Stage {
  stage: string;
  done: number;
  total: number;
}

/** What encodes a modality here. */
export interface Standing {
  modality: "audio" | "image" | "text";
  id: string;
  version: string;
  dim: number;
  fallback: boolean;
  missing: string[];
  usable: boolean;
}

/** How the state came back at the last start. */
export interface Start {
  from_snapshot: boolean;
  snapshot_offset: number;
  replayed: number;
  seconds: number;
}

/** Why an experiment is stopped, for the record. */
export interface Stop {
  reason?: string;
}

/** An event with its place in the log. */
export interface Stored {
  offset: number;
  event: Interaction | Impression | ItemChange | VectorChange | UserChange | InterestChange | Erasure;
}

/** A request from the slate to the last reward. */
export interface Story {
  request_id: string;
  impression: Impression;
  items: ShownItem[];
  events: JoinedEvent[];
  closes_at: number;
  mature: boolean;
  in_memory: boolean;
}

/** The server at this moment. */
export interface System {
  version: string;
  python: string;
  platform: string;
  pid: number;
  now: number;
  started_at: number;
  directory: string | null;
  keys: boolean;
  users: number;
  items: number;
  sessions: number;
  log: LogView;
  snapshots: SnapshotView[];
  start: Start;
  memory: Memory;
  encoders: Standing[];
  jobs: Jobs;
}

/** What became of the records of a request. ``index`` of a refusal is the record's place in it. */
export interface Taken {
  success: boolean;
  accepted: number;
  duplicates: number;
  rejected: Refusal[];
  offset: number;
}

/** Events of one person, newest first; ``next`` is the ``before`` of the following page, absent on the last one. */
export interface Timeline {
  events: Stored[];
  next?: number | null;
}

/** What became of a beacon. */
export interface TrackerAnswer {
  accepted: number;
  rejected: Refusal[];
  offset: number;
  shelves: Shelf[];
}

/** What to train. */
export interface Train {
  kinds?: string[];
}

/** The training that runs, or the last one that this server started. */
export interface TrainingState {
  running: boolean;
  kinds: string[];
  started_at: number;
  ended_at: number;
  failed: boolean;
  progress: Stage;
  said: string;
  every_h: number;
}

/** What the shop says about a person. Never required: events alone make a user. */
export interface User {
  user_id: string;
  anon_ids?: string[];
  traits?: Record<string, string | number | boolean | null>;
  consent?: "denied" | "granted" | "unknown";
  personalization?: boolean;
  created_at?: number | null;
}

/** A user's traits, links or consent changed: ``user`` is the whole new record. */
export interface UserChange {
  kind?: "user";
  event_id: string;
  user_id: string;
  ts: number;
  received_at?: number;
  user?: User | null;
}

/** Everything held of one user: the shop's record and every event, of linked anonymous ids too. */
export interface UserExport {
  user: User | null;
  events: (Interaction | Impression | ItemChange | VectorChange | UserChange | InterestChange | Erasure)[];
}

/** A user with a similar history. */
export interface UserNeighbour {
  user_id: string;
  similarity: number;
  shared: number;
}

/** Users with similar histories, most similar first. */
export interface UserNeighbours {
  users: UserNeighbour[];
}

/** One way of making a placement's list. */
export interface Variant {
  weight: number;
  settings?: Record<string, unknown>;
  ranker?: number;
}

/** What one variant brought. Differences are to the first variant, which has none. */
export interface VariantResult {
  units: number;
  slates: number;
  clicks: number;
  reward: number;
  reward_per_slate: number;
  clicks_per_slate: number;
  reward_difference: Interval | null;
  clicks_difference: Interval | null;
}

/** A vector and what made it. Only its direction counts. */
export interface VectorBody {
  vector: number[];
  encoder: string;
  version: string;
}

/** An item's vector was set or taken away. Vectors of one name come from one encoder and have one length; the first says which. Without ``item_id`` the whole set goes, so that another encoder may begin anew under the name. */
export interface VectorChange {
  kind?: "vector";
  event_id: string;
  name: string;
  ts: number;
  received_at?: number;
  item_id?: string | null;
  vector?: string | null;
  encoder?: string;
  version?: string;
}

/** One set of vectors: what made them and how many there are. */
export interface VectorSet {
  name: string;
  encoder: string;
  version: string;
  dim: number;
  items: number;
}

/** The sets of vectors, by name. */
export interface VectorSetList {
  sets: VectorSet[];
}

/** A name and what the engine believes about it. */
export interface Weighted {
  name: string;
  weight: number;
  short: number;
  long: number;
}

/** The question: why does this query's list look generic, or why does it lack this item? */
export interface WhyNot {
  query: Query;
  item_id?: string | null;
}

/** Query string of DELETE /v1/users/{id}/interest */
export interface DeleteUsersOneInterestQuery {
  /** 1 reads the id as an anonymous one. */
  anon?: boolean;
  /** What kind of tag; required. */
  tag?: "category" | "brand" | "item";
  /** Its name as the interest shows it; required. */
  name?: string;
}

/** Query string of DELETE /v1/users/{id} */
export interface DeleteUsersOneQuery {
  /** 1 reads the id as an anonymous one. */
  anon?: boolean;
}

/** Query string of GET /v1/items/{id}/bought-together */
export interface GetItemsOneBoughtTogetherQuery {
  /** Logged-in shopper. */
  user_id?: string;
  /** Anonymous visitor. */
  anon_id?: string;
  /** Your session id. */
  session_id?: string;
  /** Items wanted; 0, the default, for the placement's own number. */
  n?: number;
  /** Items not to show; may be repeated. */
  exclude?: string[];
  /** Offset of an acknowledgement; the answer is never older. */
  at_least?: number;
  /** Time of the question in epoch ms; now by default. */
  ts?: number;
  /** desktop, mobile, tablet, app, tv or other. */
  device?: string;
  /** The region as your events name it. */
  region?: string;
  /** Minutes east of UTC, for the local hour. */
  utc_offset_min?: number;
  /** Language tag. */
  locale?: string;
  /** Name of the page. */
  page?: string;
  /** 0 answers without any profile. */
  personalization?: boolean;
  /** 1 adds the whole score trace. */
  explain?: boolean;
  /** 0: the slate is not logged as shown, for answers that no shopper sees in this order. */
  shown?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of GET /v1/items/{id}/similar */
export interface GetItemsOneSimilarQuery {
  /** One way of being alike; without it the placement `similar`. By image or audio: 404 for an item without a vector. */
  by?: "text" | "image" | "audio" | "behaviour" | "all";
  /** Logged-in shopper. */
  user_id?: string;
  /** Anonymous visitor. */
  anon_id?: string;
  /** Your session id. */
  session_id?: string;
  /** Items wanted; 0, the default, for the placement's own number. */
  n?: number;
  /** Items not to show; may be repeated. */
  exclude?: string[];
  /** Offset of an acknowledgement; the answer is never older. */
  at_least?: number;
  /** Time of the question in epoch ms; now by default. */
  ts?: number;
  /** desktop, mobile, tablet, app, tv or other. */
  device?: string;
  /** The region as your events name it. */
  region?: string;
  /** Minutes east of UTC, for the local hour. */
  utc_offset_min?: number;
  /** Language tag. */
  locale?: string;
  /** Name of the page. */
  page?: string;
  /** 0 answers without any profile. */
  personalization?: boolean;
  /** 1 adds the whole score trace. */
  explain?: boolean;
  /** 0: the slate is not logged as shown, for answers that no shopper sees in this order. */
  shown?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of GET /v1/items */
export interface GetItemsQuery {
  /** The `next` of the page before. */
  after?: string;
  /** Items of the page; 100 by default. */
  n?: number;
  /** Only ids that begin so, and titles or brands that hold each word. A page may then be short; only one without `next` is the last. */
  q?: string;
}

/** Query string of GET /v1/quarantine */
export interface GetQuarantineQuery {
  /** Records wanted; 100 by default. */
  n?: number;
  /** Continue a listing below this record id. */
  before?: number;
}

/** Query string of GET /v1/recommend */
export interface GetRecommendQuery {
  /** Surface the slate is for; home by default. */
  placement?: string;
  /** Items on the page; may be repeated. */
  item?: string[];
  /** Logged-in shopper. */
  user_id?: string;
  /** Anonymous visitor. */
  anon_id?: string;
  /** Your session id. */
  session_id?: string;
  /** Items wanted; 0, the default, for the placement's own number. */
  n?: number;
  /** Items not to show; may be repeated. */
  exclude?: string[];
  /** Offset of an acknowledgement; the answer is never older. */
  at_least?: number;
  /** Time of the question in epoch ms; now by default. */
  ts?: number;
  /** desktop, mobile, tablet, app, tv or other. */
  device?: string;
  /** The region as your events name it. */
  region?: string;
  /** Minutes east of UTC, for the local hour. */
  utc_offset_min?: number;
  /** Language tag. */
  locale?: string;
  /** Name of the page. */
  page?: string;
  /** 0 answers without any profile. */
  personalization?: boolean;
  /** 1 adds the whole score trace. */
  explain?: boolean;
  /** 0: the slate is not logged as shown, for answers that no shopper sees in this order. */
  shown?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of GET /v2/{id}/userEvents:collect */
export interface GetRetailV2OneUserEventsCollectQuery {
  /** The event as JSON. */
  userEvent?: string;
  /** A key of ours. */
  key?: string;
}

/** Query string of GET /v1/search */
export interface GetSearchQuery {
  /** The words. */
  q: string;
  /** Logged-in shopper. */
  user_id?: string;
  /** Anonymous visitor. */
  anon_id?: string;
  /** Your session id. */
  session_id?: string;
  /** Items wanted; 0, the default, for the placement's own number. */
  n?: number;
  /** Items not to show; may be repeated. */
  exclude?: string[];
  /** Offset of an acknowledgement; the answer is never older. */
  at_least?: number;
  /** Time of the question in epoch ms; now by default. */
  ts?: number;
  /** desktop, mobile, tablet, app, tv or other. */
  device?: string;
  /** The region as your events name it. */
  region?: string;
  /** Minutes east of UTC, for the local hour. */
  utc_offset_min?: number;
  /** Language tag. */
  locale?: string;
  /** Name of the page. */
  page?: string;
  /** 0 answers without any profile. */
  personalization?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of GET /v1/tail */
export interface GetTailQuery {
  /** Begin behind this offset; else near the newest event. */
  after?: number;
  /** The stream ends after this time; 60 by default. */
  seconds?: number;
}

/** Query string of GET /v1/trending */
export interface GetTrendingQuery {
  /** Logged-in shopper. */
  user_id?: string;
  /** Anonymous visitor. */
  anon_id?: string;
  /** Your session id. */
  session_id?: string;
  /** Items wanted; 0, the default, for the placement's own number. */
  n?: number;
  /** Items not to show; may be repeated. */
  exclude?: string[];
  /** Offset of an acknowledgement; the answer is never older. */
  at_least?: number;
  /** Time of the question in epoch ms; now by default. */
  ts?: number;
  /** desktop, mobile, tablet, app, tv or other. */
  device?: string;
  /** The region as your events name it. */
  region?: string;
  /** Minutes east of UTC, for the local hour. */
  utc_offset_min?: number;
  /** Language tag. */
  locale?: string;
  /** Name of the page. */
  page?: string;
  /** 0 answers without any profile. */
  personalization?: boolean;
  /** 1 adds the whole score trace. */
  explain?: boolean;
  /** 0: the slate is not logged as shown, for answers that no shopper sees in this order. */
  shown?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of GET /v1/users/{id}/events */
export interface GetUsersOneEventsQuery {
  /** 1 reads the id as an anonymous one. */
  anon?: boolean;
  /** Events of the page; 50 by default. */
  n?: number;
  /** The `next` of the page before. */
  before?: number;
}

/** Query string of GET /v1/users/{id}/export */
export interface GetUsersOneExportQuery {
  /** 1 reads the id as an anonymous one. */
  anon?: boolean;
}

/** Query string of GET /v1/users/{id}/interest */
export interface GetUsersOneInterestQuery {
  /** 1 reads the id as an anonymous one. */
  anon?: boolean;
}

/** Query string of GET /v1/users/{id}/similar */
export interface GetUsersOneSimilarQuery {
  /** Users wanted; 10 by default. */
  n?: number;
}

/** Query string of POST /v1/events/check */
export interface PostEventsCheckQuery {
  /** 1 applies the limits of a browser key. */
  browser?: boolean;
}

/** Query string of POST /mp/collect */
export interface PostGa4MpCollectQuery {
  /** A key of ours. */
  api_secret?: string;
  /** Not read. */
  measurement_id?: string;
}

/** Query string of POST /v1/recommend */
export interface PostRecommendQuery {
  /** 0: the slate is not logged as shown, for answers that no shopper sees in this order. */
  shown?: boolean;
  /** Adds each reason as a sentence: a language tag or what a browser sends as Accept-Language. English and Simplified Chinese; others give English. */
  lang?: string;
}

/** Query string of POST /v2/{id}/userEvents:import */
export interface PostRetailV2OneUserEventsImportQuery {
  /** A key of ours. */
  key?: string;
}

/** Query string of POST /v2/{id}/userEvents:write */
export interface PostRetailV2OneUserEventsWriteQuery {
  /** A key of ours. */
  key?: string;
}
