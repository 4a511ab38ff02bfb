// @ts-check
/** Users: what is known of one person, what they steer themselves, what they did, and their right to a copy and to be forgotten. */
import { html, useEffect, useState } from "../shop/html.js";
import { at, get, send } from "./api.js";
import { say, t } from "./messages.js";
import { Bar, Card, Facts, Field, Figures, Json, moment, number, Problem, Sure, Table, Title, useLoaded } from "./parts.js";
import { go, Link, route, to } from "./router.js";

say({
  "users.find": ["Find a person", "查找用户"],
  "users.hint": ["By the id that your events carry. The engine keeps no names.", "按事件中的 ID 查找。引擎不保存姓名。"],
  "users.id": ["Id", "ID"],
  "users.kind": ["Kind of id", "ID 类型"],
  "users.kind.user": ["user id (signed in)", "用户 ID（已登录）"],
  "users.kind.anon": ["anonymous id", "匿名 ID"],
  "users.show": ["Show", "查看"],
  "users.user": ["User {id}", "用户 {id}"],
  "users.visitor": ["Visitor {id}", "访客 {id}"],
  "users.unknown": ["Nothing is known of this id: no record and no event.", "没有此 ID 的任何记录或事件。"],
  "users.profile": ["Profile", "画像"],
  "users.warmth": ["Warmth", "热度"],
  "users.events": ["Events so far", "累计事件"],
  "users.session": ["In this visit", "本次访问"],
  "users.price": ["Price level", "价格水平"],
  "users.consent": ["Consent", "同意状态"],
  "users.personal": ["Personalized", "个性化"],
  "users.on": ["on", "开启"],
  "users.off": ["off", "关闭"],
  "users.record": ["The shop’s record", "商店提供的记录"],
  "users.preview": ["The list this person gets now", "此人当前得到的列表"],
  "tags.title": ["Interest", "兴趣标签"],
  "tags.hint": ["Read from what this person did. A deleted tag takes its events out of the profile: the next list does without, and a restart keeps to it. New behaviour may bring it back. What was hidden stays hidden.", "根据此人的行为得出。删除标签会将相关行为移出画像：下一个列表即生效，重启后依然有效。新的行为可能使其再次出现。已隐藏的商品仍保持隐藏。"],
  "tags.category": ["Categories", "类目"],
  "tags.brand": ["Brands", "品牌"],
  "tags.item": ["Items", "商品"],
  "tags.name": ["Tag", "标签"],
  "tags.share": ["Share", "占比"],
  "tags.delete": ["Delete", "删除"],
  "tags.delete.it": ["Delete {name}", "删除 {name}"],
  "tags.sure": ["Delete {name} from this person’s interest?", "从此人的兴趣中删除 {name}？"],
  "tags.none": ["No interest is known.", "暂无已知兴趣。"],
  "timeline.title": ["Timeline", "时间线"],
  "timeline.hint": ["What this person did and was shown, newest first; of anonymous ids too that turned out to be this user.", "此人的行为与曝光，最新在前；包括已关联的匿名 ID。"],
  "timeline.older": ["Older events", "更早的事件"],
  "timeline.raw": ["The whole event", "完整事件"],
  "timeline.deleted": ["deleted the tag {name}", "删除了标签 {name}"],
  "timeline.kind": ["Kind", "类型"],
  "timeline.what": ["What", "内容"],
  "rights.title": ["Rights of this person", "此人的权利"],
  "rights.export": ["Download all that is held", "下载全部数据"],
  "rights.export.hint": ["Record and every event as JSON.", "记录与全部事件（JSON）。"],
  "rights.erase": ["Erase this person", "删除此人"],
  "rights.erase.hint": ["Deletes every event from the log and folds what is left anew. It cannot be undone, and takes a minute for each million events.", "从日志中删除全部事件，并用剩余事件重新计算。无法撤销，每百万事件约需一分钟。"],
  "rights.erase.sure": ["Erase {id} for good?", "永久删除 {id}？"],
  "rights.erase.runs": ["Erasing …", "正在删除……"],
  "rights.erased": ["{n} events are erased. Receipt {receipt}.", "已删除 {n} 个事件。回执 {receipt}。"],
});

/** Move the focus to what replaces something, or to the heading. */
const focusOn = (/** @type {string} */ where) => /** @type {HTMLElement | null} */ (document.querySelector(where) ?? document.querySelector("main h1"))?.focus({ preventScroll: true });

const PAGE = 25;
const TITLES = 16; // of the items of an interest, the strongest; each is a small request

export function Users() {
  const { id, query } = route.value;
  const anon = query.get("anon") === "1";
  return html`<${Title}>${id ? t(anon ? "users.visitor" : "users.user", { id }) : t("page.users")}</${Title}>
    <${Find} key=${`f${id}${anon}`} id=${id} anon=${anon} />${id && html`<${Person} id=${id} anon=${anon} key=${`p${anon}${id}`} />`}`;
}

function Find({ id, anon }) {
  const onSubmit = (/** @type {any} */ event) => {
    event.preventDefault();
    const { who, kind } = event.target.elements;
    if (who.value) go(to("users", who.value, kind.value === "anon" ? { anon: "1" } : {}));
  };
  return html`<${Card} title=${t("users.find")} name="find"><p class="soft">${t("users.hint")}</p>
    <form class="row" role="search" onSubmit=${onSubmit}>
      <${Field} label=${t("users.id")}><input name="who" required maxlength="256" size="28" autocomplete="off" defaultValue=${id} /></${Field}>
      <${Field} label=${t("users.kind")}><select name="kind" defaultValue=${anon ? "anon" : "user"}><option value="user" selected=${!anon}>${t("users.kind.user")}</option><option value="anon" selected=${anon}>${t("users.kind.anon")}</option></select></${Field}>
      <button class="main">${t("users.show")}</button></form></${Card}>`;
}

function Person({ id, anon }) {
  const path = `/v1/users/${at(id)}`;
  const whose = anon ? { anon: 1 } : {};
  const [interest, setInterest] = useState(/** @type {any} */ (null));
  const [record, setRecord] = useState(/** @type {any} */ (null));
  const [events, setEvents] = useState(/** @type {any[]} */ ([]));
  const [next, setNext] = useState(/** @type {number | undefined} */ (undefined));
  const [receipt, setReceipt] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const tried = async (/** @type {() => Promise<void>} */ act) => {
    try {
      await act();
      setProblem(null);
    } catch (wrong) {
      setProblem(wrong);
    }
  };
  const page = async (/** @type {number | undefined} */ before) => {
    const found = await get(`${path}/events`, { ...whose, n: PAGE, before });
    setEvents((old) => (before ? [...old, ...found.events] : found.events));
    setNext(found.next);
    return found.events;
  };
  const load = () => tried(async () => {
    const [held, known] = await Promise.all([page(undefined), get(`${path}/interest`, whose)]);
    setRecord(!anon && (held.length || known.total_events) ? await get(path) : null);
    setInterest(known);
  });
  useEffect(() => {
    load();
  }, []);
  const drop = (/** @type {string} */ tag, /** @type {string} */ name) => tried(async () => {
    const query = new URLSearchParams({ tag, name, ...(anon ? { anon: "1" } : {}) });
    setInterest(await send("DELETE", `${path}/interest?${query}`, undefined));
    await page(undefined);
    requestAnimationFrame(() => focusOn(`[data-tags=${tag}] .scroll`)); // the button that had the focus is gone
  });
  const erase = () => tried(async () => {
    setReceipt({});
    try {
      setReceipt(await send("DELETE", `${path}${anon ? "?anon=1" : ""}`, undefined));
    } catch (wrong) {
      setReceipt(null);
      throw wrong;
    }
    await load();
    requestAnimationFrame(() => focusOn("main h1"));
  });
  const known = interest && (events.length > 0 || interest.total_events > 0);
  return html`<${Problem} of=${problem} />
    <div role="status">${receipt && html`<p class="notice good" data-receipt=${receipt.event_id}>${receipt.event_id ? t("rights.erased", { n: number(receipt.n_events ?? 0), receipt: receipt.event_id }) : t("rights.erase.runs")}</p>`}
      ${interest && !known && html`<p class="notice" data-unknown>${t("users.unknown")}</p>`}</div>
    ${known && html`<${Profile} of=${interest} record=${record} id=${id} anon=${anon} /><${Interest} of=${interest} drop=${drop} />
      <${Timeline} events=${events} older=${next && (() => tried(async () => { await page(next); }))} />
      <${Rights} id=${id} path=${path} whose=${whose} erase=${erase} busy=${receipt && !receipt.event_id} tried=${tried} />`}`;
}

const Profile = ({ of: interest, record, id, anon }) => html`<${Card} title=${t("users.profile")} name="profile"
  tools=${html`<${Link} to=${to("placements", "home", { [anon ? "anon" : "user"]: id })}>${t("users.preview")}</${Link}>`}>
  <${Figures} of=${[
    [t("users.warmth"), interest.warmth],
    [t("users.events"), number(interest.total_events, 0)],
    [t("users.session"), number(interest.session_events, 0)],
    [t("users.price"), number(interest.price_level)],
    [t("users.consent"), interest.consent],
    [t("users.personal"), t(interest.personalization ? "users.on" : "users.off")],
  ]} />
  ${record && html`<details><summary>${t("users.record")}</summary><${Json} of=${record} label=${t("users.record")} /></details>`}</${Card}>`;

async function titlesOf(/** @type {any[]} */ items) {
  const first = items.slice(0, TITLES);
  const found = await Promise.all(first.map((one) => get(`/v1/items/${at(one.name)}/facts`).then((facts) => facts.title, () => null)));
  return Object.fromEntries(first.map((one, k) => [one.name, found[k]]));
}

function Interest({ of: interest, drop }) {
  const { value: titles } = useLoaded(() => titlesOf(interest.items), [interest]);
  const kinds = [["category", interest.categories], ["brand", interest.brands], ["item", interest.items]].filter(([, tags]) => tags.length);
  return html`<${Card} title=${t("tags.title")} name="interest"><p class="soft">${t("tags.hint")}</p>
    ${kinds.length === 0 && html`<p class="soft" data-none>${t("tags.none")}</p>`}
    <div class="grid">${kinds.map(([tag, tags]) => html`<div class="stack" key=${tag} data-tags=${tag}><h3>${t(`tags.${tag}`)}</h3><${Table} label=${t(`tags.${tag}`)} rows=${tags} id=${(/** @type {any} */ row) => row.name} columns=${[
      [t("tags.name"), (/** @type {any} */ row) => tag === "item" ? html`<${Link} to=${to("catalogue", row.name)}><code>${row.name}</code></${Link}> ${titles?.[row.name]}` : row.name, "h"],
      [t("tags.share"), (/** @type {any} */ row) => html`${number(row.weight * 100, 1)} % <${Bar} share=${row.weight} />`, "n"],
      [t("tags.delete"), (/** @type {any} */ row) => html`<${Sure} label=${t("tags.delete")} name=${t("tags.delete.it", { name: row.name })} question=${t("tags.sure", { name: row.name })} act=${() => drop(tag, row.name)} />`],
    ]} /></div>`)}</div></${Card}>`;
}

/** An event in a few words. */
function words(/** @type {any} */ event) {
  if (event.kind === "impression") return `${event.placement ?? "home"}: ${(event.items ?? []).join(", ")}`;
  if (event.kind === "interest") return t("timeline.deleted", { name: event.name });
  if (event.kind === "user") return JSON.stringify(event.user?.traits ?? {});
  return [event.item_id, event.query, event.category, event.placement, event.context?.device, event.props?.user_agent].filter(Boolean).join(" · ");
}

const Timeline = ({ events, older }) => html`<${Card} title=${t("timeline.title")} name="timeline"><p class="soft">${t("timeline.hint")}</p>
  <${Table} label=${t("timeline.title")} rows=${events} id=${(/** @type {any} */ row) => row.offset} columns=${[
    [t("time"), (/** @type {any} */ row) => moment(row.event.ts), "t"],
    [t("timeline.kind"), (/** @type {any} */ row) => row.event.type ?? row.event.kind, "t"],
    [t("timeline.what"), (/** @type {any} */ row) => html`${words(row.event)}<details><summary>${t("timeline.raw")}</summary><code>${JSON.stringify(row.event)}</code></details>`],
  ]} />
  ${older && html`<p><button type="button" onClick=${older}>${t("timeline.older")}</button></p>`}</${Card}>`;

function Rights({ id, path, whose, erase, busy, tried }) {
  const download = () => tried(async () => {
    const copy = await get(`${path}/export`, whose);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(copy, null, 2)], { type: "application/json" }));
    link.download = "export.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
  return html`<${Card} title=${t("rights.title")} name="rights"><div class="grid">
    <div class="stack"><p class="soft">${t("rights.export.hint")}</p><p><button type="button" onClick=${download}>${t("rights.export")}</button></p></div>
    <div class="stack"><p class="soft">${t("rights.erase.hint")}</p><p>${busy ? t("rights.erase.runs") : html`<${Sure} label=${t("rights.erase")} question=${t("rights.erase.sure", { id })} act=${erase} />`}</p></div></div></${Card}>`;
}
