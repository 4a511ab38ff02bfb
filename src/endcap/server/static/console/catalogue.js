// @ts-check
/** Catalogue: search, one item with its neighbours, and what is wrong with the records. */
import { html, useEffect, useState } from "../shop/html.js";
import { at, get } from "./api.js";
import { reason, say, t } from "./messages.js";
import { Card, Facts, Field, Json, moment, number, Problem, score, Table, Tags, Title, useLoaded } from "./parts.js";
import { go, Link, route, to } from "./router.js";

say({
  "catalogue.search": ["Search", "搜索"],
  "catalogue.words": ["Words of title or brand, or the beginning of an id", "标题或品牌中的词，或商品 ID 的开头"],
  "catalogue.find": ["Find", "查找"],
  "catalogue.all": ["Items, in the order in which they became known", "商品（按首次出现的顺序）"],
  "catalogue.found": ["Items found", "找到的商品"],
  "catalogue.more": ["Further items", "更多商品"],
  "catalogue.on": ["Nothing so far; search further", "暂未找到，继续搜索"],
  "catalogue.item": ["Item", "商品"],
  "catalogue.brand": ["Brand", "品牌"],
  "catalogue.category": ["Categories", "类目"],
  "catalogue.price": ["Price", "价格"],
  "catalogue.was": ["List price", "原价"],
  "catalogue.stock": ["Stock", "库存"],
  "catalogue.availability": ["Availability", "供应状态"],
  "catalogue.updated": ["Updated", "更新时间"],
  "catalogue.back": ["All items", "全部商品"],
  "catalogue.record": ["Record", "记录"],
  "catalogue.whole": ["The whole record", "完整记录"],
  "catalogue.pictures": ["Pictures", "图片"],
  "catalogue.pictures.far": ["Pictures of other servers are not loaded here; follow the address.", "此处不加载其他服务器上的图片，请点击地址查看。"],
  "catalogue.status": ["Status", "状态"],
  "catalogue.status.listed": ["in the catalogue", "已在目录中"],
  "catalogue.status.unlisted": ["named by events only", "仅在事件中出现"],
  "catalogue.status.deleted": ["deleted", "已删除"],
  "catalogue.sale": ["May be shown now", "当前可展示"],
  "catalogue.yes": ["yes", "是"],
  "catalogue.no": ["no", "否"],
  "catalogue.first": ["First seen", "首次出现"],
  "catalogue.vectors": ["Vectors", "向量"],
  "catalogue.counts": ["Counts", "计数"],
  "catalogue.counts.hint": ["Each event counts 1 and fades by half within the time named; a shopper counts once an hour.", "每个事件计 1，在所示时间内衰减一半；同一用户每小时只计一次。"],
  "catalogue.group": ["Events", "事件"],
  "catalogue.seen": ["seen", "浏览"],
  "catalogue.wanted": ["wanted: cart, wish, like", "意向：加购、收藏、喜欢"],
  "catalogue.bought": ["bought", "购买"],
  "near.title": ["Neighbours", "相似商品"],
  "near.by": ["Alike by", "相似依据"],
  "near.by.usual": ["the placement “similar”", "推荐位 similar"],
  "near.by.behaviour": ["behaviour", "行为"],
  "near.by.text": ["text", "文本"],
  "near.by.image": ["image", "图像"],
  "near.by.audio": ["audio", "音频"],
  "near.by.all": ["all of them", "综合"],
  "near.preview": ["A whole list for this item’s page", "查看此商品页的完整列表"],
  "quality.title": ["Data quality", "数据质量"],
  "quality.hint": ["Reads every record: two to three seconds for 100,000, in slices between requests.", "读取全部记录：十万条约两到三秒，分片穿插于请求之间。"],
  "quality.check": ["Check the catalogue", "检查商品目录"],
  "quality.sizes": ["{listed} records, {unlisted} items that only events name, {deleted} deleted; read in {seconds} s.", "{listed} 条记录，{unlisted} 个仅在事件中出现，{deleted} 个已删除；耗时 {seconds} 秒。"],
  "quality.what": ["What", "问题"],
  "quality.n": ["Items", "商品数"],
  "quality.share": ["Share", "占比"],
  "quality.examples": ["For example", "示例"],
  "quality.unlisted": ["Named by events, unknown to the catalogue", "事件中出现但目录中没有"],
  "quality.no_title": ["No title", "缺少标题"],
  "quality.no_category": ["No category", "缺少类目"],
  "quality.no_price": ["No price", "缺少价格"],
  "quality.no_picture": ["No picture", "缺少图片"],
  "quality.no_brand": ["No brand", "缺少品牌"],
  "quality.price_above_list": ["Price above the list price", "售价高于原价"],
  "quality.in_stock_with_none": ["In stock, with a stock of none", "标为有货但库存为零"],
  "quality.duplicate": ["Listed twice: equal GTIN, or equal title, brand, size and colour", "重复：GTIN 相同，或标题、品牌、尺寸与颜色相同"],
  "quality.stale": ["Not updated for 180 days", "180 天未更新"],
  "quality.price_far": ["Price far from its category’s", "价格明显偏离所属类目"],
  "quality.without_events": ["No event so far", "尚无任何事件"],
  "quality.cleaned": ["Events kept out of the statistics, by rule", "未计入统计的事件（按规则）"],
  "quality.refused": ["Refused records, by code", "被拒绝的记录（按代码）"],
});

const PAGE = 50;
const WAYS = ["", "behaviour", "text", "image", "audio", "all"];
const price = (/** @type {any} */ item) => item.price === undefined || item.price === null ? "–" : `${number(item.price)} ${item.currency ?? ""}`;
const paths = (/** @type {any} */ item) => (item.categories ?? []).map((/** @type {string[]} */ path) => path.join(" > "));
const ItemLink = ({ id }) => html`<${Link} to=${to("catalogue", id)}><code>${id}</code></${Link}>`;

export function Catalogue() {
  const { id, query } = route.value;
  if (id) return html`<${ItemPage} id=${id} key=${`i${id}`} />`;
  const words = query.get("q") ?? "";
  return html`<${Title}>${t("page.catalogue")}</${Title}><${Search} words=${words} key=${`q${words}`} /><${Quality} />`;
}

function Search({ words }) {
  const [items, setItems] = useState(/** @type {any[]} */ ([]));
  const [next, setNext] = useState(/** @type {string | undefined} */ (undefined));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [ready, setReady] = useState(false);
  const load = async (/** @type {string} */ after) => {
    try {
      const page = await get("/v1/items", { q: words, n: PAGE, after });
      setItems((old) => (after ? [...old, ...page.items] : page.items));
      setNext(page.next);
      setProblem(null);
    } catch (wrong) {
      setProblem(wrong);
    }
    setReady(true);
  };
  useEffect(() => {
    load("");
  }, []);
  const onSubmit = (/** @type {any} */ event) => {
    event.preventDefault();
    const asked = event.target.elements.q.value.trim();
    go(to("catalogue", "", asked ? { q: asked } : {}));
  };
  return html`<${Card} title=${t(words ? "catalogue.found" : "catalogue.all")} name="items">
    <form class="row" role="search" onSubmit=${onSubmit}><${Field} label=${t("catalogue.words")}><input name="q" type="search" size="36" maxlength="256" defaultValue=${words} /></${Field}>
      <button class="main">${t("catalogue.find")}</button></form>
    <${Problem} of=${problem} />
    <div role="status">${ready && html`<${Table} label=${t("catalogue.found")} rows=${items} id=${(/** @type {any} */ row) => row.item_id} columns=${[
      [t("catalogue.item"), (/** @type {any} */ row) => html`<${ItemLink} id=${row.item_id} /> ${row.title}`, "h"],
      [t("catalogue.brand"), (/** @type {any} */ row) => row.brand],
      [t("catalogue.category"), (/** @type {any} */ row) => paths(row).join(", ")],
      [t("catalogue.price"), price, "n"],
      [t("catalogue.availability"), (/** @type {any} */ row) => row.availability ?? "in_stock", "t"],
    ]} />`}</div>
    ${next && html`<p><button type="button" onClick=${() => load(next)}>${t(items.length ? "catalogue.more" : "catalogue.on")}</button></p>`}</${Card}>`;
}

// ---------------------------------------------------------------- one item

async function loadItem(/** @type {string} */ id) {
  const facts = await get(`/v1/items/${at(id)}/facts`);
  return { facts, item: facts.status === "listed" ? await get(`/v1/items/${at(id)}`) : { item_id: id } };
}

function ItemPage({ id }) {
  const { value, problem } = useLoaded(() => loadItem(id), [id]);
  return html`<${Title}>${value?.item.title || id}</${Title}>
    <p><${Link} to=${to("catalogue")}>${t("catalogue.back")}</${Link}></p><${Problem} of=${problem} />
    ${value && html`<div class="grid"><${Record} of=${value.item} facts=${value.facts} /><${Counts} of=${value.facts.counts} /></div>
      <${Neighbours} id=${id} ways=${WAYS.filter((way) => !["image", "audio"].includes(way) || value.facts.vectors.includes(way))} />`}`;
}

function Record({ of: item, facts }) {
  return html`<${Card} title=${t("catalogue.record")} name="record"><${Pictures} of=${item.image_urls ?? []} title=${item.title ?? item.item_id} /><${Facts} of=${[
    ["item_id", html`<code>${item.item_id}</code>`],
    [t("catalogue.status"), t(`catalogue.status.${facts.status}`)],
    [t("catalogue.sale"), html`<span class=${facts.on_sale ? "good" : "warn"}>${t(facts.on_sale ? "catalogue.yes" : "catalogue.no")}</span>`],
    [t("catalogue.brand"), item.brand],
    [t("catalogue.category"), paths(item).length > 0 && html`<${Tags} of=${paths(item)} />`],
    [t("catalogue.price"), price(item)],
    [t("catalogue.was"), item.list_price && number(item.list_price)],
    [t("catalogue.availability"), facts.status === "listed" && (item.availability ?? "in_stock")],
    [t("catalogue.stock"), item.stock_qty],
    [t("catalogue.updated"), item.updated_at && moment(item.updated_at)],
    [t("catalogue.first"), moment(facts.first_seen)],
    [t("catalogue.vectors"), facts.vectors.join(", ") || "–"],
  ].filter(([, value]) => value !== false)} />
    ${facts.status === "listed" && html`<details><summary>${t("catalogue.whole")}</summary><${Json} of=${item} label=${t("catalogue.whole")} /></details>`}</${Card}>`;
}

/** Pictures of this server are shown. The console loads nothing from elsewhere, so others stand there as links. */
function Pictures({ of: addresses, title }) {
  const known = addresses.map((/** @type {string} */ text) => ({ text, url: safe(text) }));
  const near = known.filter((/** @type {any} */ one) => one.url?.origin === location.origin);
  const far = known.filter((/** @type {any} */ one) => one.url?.origin !== location.origin);
  if (!known.length) return null;
  return html`${near.map((/** @type {any} */ one) => html`<img class="photo" src=${one.url.href} alt=${title} key=${one.text} />`)}
    ${far.length > 0 && html`<h3>${t("catalogue.pictures")}</h3><p class="soft">${t("catalogue.pictures.far")}</p><ul class="plain">${far.map((/** @type {any} */ one) => html`<li key=${one.text}>
      ${one.url ? html`<a href=${one.url.href} rel="noreferrer noopener" target="_blank">${one.text}</a>` : one.text}</li>`)}</ul>`}`;
}

/** An address that may stand in a link: a whole one of http or https, or a path of this server. Nothing that runs. */
function safe(/** @type {string} */ text) {
  if (!/^(https?:)?\//i.test(text)) return null;
  try {
    const url = new URL(text, location.origin);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

const Counts = ({ of: counts }) => html`<${Card} title=${t("catalogue.counts")} name="counts"><p class="soft">${t("catalogue.counts.hint")}</p>
  <${Table} label=${t("catalogue.counts")} rows=${Object.entries(counts)} columns=${[
    [t("catalogue.group"), (/** @type {any} */ [group]) => t(`catalogue.${group}`), "h"],
    ...Object.keys(Object.values(counts)[0] ?? {}).map((span) => [span, (/** @type {any} */ [, row]) => number(row[span]), "n"]),
  ]} /></${Card}>`;

async function loadNeighbours(/** @type {string} */ id, /** @type {string} */ by) {
  const slate = await get(`/v1/items/${at(id)}/similar`, { by, n: 12, shown: 0 });
  const titles = await Promise.all(slate.items.map((/** @type {any} */ one) => get(`/v1/items/${at(one.item_id)}/facts`).then((facts) => facts.title, () => "")));
  return slate.items.map((/** @type {any} */ one, /** @type {number} */ k) => ({ ...one, title: titles[k], place: k + 1 }));
}

function Neighbours({ id, ways }) {
  const [by, setBy] = useState("");
  const { value, problem } = useLoaded(() => loadNeighbours(id, by), [by]);
  return html`<${Card} title=${t("near.title")} name="neighbours" tools=${html`<${Link} to=${to("placements", "product", { items: id })}>${t("near.preview")}</${Link}>`}>
    <div class="row"><${Field} label=${t("near.by")}><select value=${by} onChange=${(/** @type {any} */ event) => setBy(event.target.value)}>
      ${ways.map((/** @type {string} */ way) => html`<option value=${way} key=${way}>${t(`near.by.${way || "usual"}`)}</option>`)}</select></${Field}></div>
    <${Problem} of=${problem} />
    <div role="status" data-by=${by}>${value && html`<${Table} label=${t("near.title")} rows=${value} id=${(/** @type {any} */ row) => row.item_id} columns=${[
      [t("preview.place"), (/** @type {any} */ row) => row.place, "n"],
      [t("catalogue.item"), (/** @type {any} */ row) => html`<${ItemLink} id=${row.item_id} /> ${row.title}`, "h"],
      [t("preview.score"), (/** @type {any} */ row) => score(row.score), "n"],
      [t("preview.reasons"), (/** @type {any} */ row) => row.reasons.map((/** @type {any} */ why) => `${reason(why.code)} ${why.value ?? ""}`).join(", ")],
      [t("preview.sources"), (/** @type {any} */ row) => row.sources.join(", ")],
    ]} />`}</div></${Card}>`;
}

// ---------------------------------------------------------------- data quality

function Quality() {
  const [report, setReport] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [busy, setBusy] = useState(false);
  const check = async () => {
    setBusy(true);
    try {
      setReport(await get("/v1/quality"));
      setProblem(null);
    } catch (wrong) {
      setProblem(wrong);
    }
    setBusy(false);
  };
  return html`<${Card} title=${t("quality.title")} name="quality" tools=${html`<button type="button" disabled=${busy} onClick=${check}>${t("quality.check")}</button>`}>
    <p class="soft">${t("quality.hint")}</p><${Problem} of=${problem} />
    <div role="status" class="stack">${report && html`<${Findings} of=${report} />`}</div></${Card}>`;
}

const Findings = ({ of: report }) => html`
  <p data-quality>${t("quality.sizes", { listed: number(report.listed), unlisted: number(report.unlisted), deleted: number(report.deleted), seconds: number(report.seconds) })}</p>
  <${Table} label=${t("quality.title")} rows=${report.findings} id=${(/** @type {any} */ row) => row.code} columns=${[
    [t("quality.what"), (/** @type {any} */ row) => html`<span class=${row.n ? "" : "soft"} data-finding=${row.code}>${t(`quality.${row.code}`)}</span>`, "h"],
    [t("quality.n"), (/** @type {any} */ row) => number(row.n), "n"],
    [t("quality.share"), (/** @type {any} */ row) => row.of ? `${number(100 * row.n / row.of, 1)} %` : "–", "n"],
    [t("quality.examples"), (/** @type {any} */ row) => row.examples.map((/** @type {string} */ id) => html`<${ItemLink} id=${id} key=${id} /> `)],
  ]} />
  <div class="grid">${[["cleaned", report.cleaned], ["refused", report.refused]].map(([name, counts]) => html`<div class="stack" key=${name}><h3>${t(`quality.${name}`)}</h3>
    <${Facts} of=${Object.entries(counts).map(([code, n]) => [html`<code>${code}</code>`, number(/** @type {number} */ (n))])} />${Object.keys(counts).length === 0 && html`<p class="soft">${t("nothing")}</p>`}</div>`)}</div>`;
