// @ts-check
/** Placements: how each list is made, what its arms earned, which rules hold, and a list with all its reasons. */
import { html, useState } from "../shop/html.js";
import { at, get, send } from "./api.js";
import { reason, t } from "./messages.js";
import { Card, Facts, Json, number, Problem, score, Table, Tags, Title, useLoaded } from "./parts.js";
import { go, route, to } from "./router.js";

const RULE_STATE = { true: "good", false: "soft" };

async function load() {
  const [{ placements }, { rules }] = await Promise.all([get("/v1/placements"), get("/v1/rules")]);
  return { placements, rules };
}

export function Placements() {
  const { value, problem } = useLoaded(load, []);
  const names = Object.keys(value?.placements ?? {});
  const name = names.includes(route.value.id) ? route.value.id : names[0];
  return html`<${Title}>${t("page.placements")}</${Title}><${Problem} of=${problem} />
    ${name && html`
      <div class="row"><label class="field"><span>${t("placements.choose")}</span><select value=${name} onChange=${(/** @type {any} */ event) => go(to("placements", event.target.value))}>
        ${names.map((one) => html`<option value=${one} key=${one}>${one}</option>`)}</select></label></div>
      <div class="grid" key=${name}><${Strategy} name=${name} of=${value.placements[name]} /><${Arms} name=${name} of=${value.placements[name]} /></div>
      <${Rules} of=${value.rules.filter((/** @type {any} */ one) => !one.rule.placements.length || one.rule.placements.includes(name))} />
      <${Preview} name=${name} key=${`p${name}`} />`}`;
}

const Strategy = ({ name, of: placement }) => html`<${Card} title=${`${t("placements.strategy")}: ${name}`} name="strategy"><${Facts} of=${[
    [t("placements.sources"), html`<${Tags} of=${placement.sources} />`],
    [t("placements.n"), placement.n],
    [t("placements.ranker"), placement.ranker],
    [t("placements.seen"), placement.seen],
    [t("placements.diversity"), number(placement.diversity)],
    [t("placements.caps"), `${placement.category_cap || "–"}, ${placement.brand_cap || "–"}`],
    [t("placements.explore"), number(placement.explore.share, 3)],
    [t("placements.filter"), placement.filter && html`<code>${JSON.stringify(placement.filter)}</code>`],
  ]} /><details><summary>${t("placements.whole")}</summary><${Json} of=${placement} label=${t("placements.whole")} /></details></${Card}>`;

function Arms({ name, of: placement }) {
  const { value, problem } = useLoaded(() => get(`/v1/placements/${at(name)}/feedback`), [name]);
  return html`<${Card} title=${t("arms.title")} name="arms"><${Problem} of=${problem} />
    ${value && html`<${Facts} of=${[[t("placements.slates"), number(value.slates, 0)], [t("placements.immature"), number(value.immature, 0)]]} />
    ${value.arms.length === 0 ? html`<p class="soft">${t("arms.none")}</p>` : html`<${Table} label=${t("arms.title")} rows=${value.arms} columns=${[
      [t("arms.arm"), (/** @type {any} */ row) => row.arm, "h"],
      [t("arms.slates"), (/** @type {any} */ row) => number(row.slates, 1), "n"],
      [t("arms.reward"), (/** @type {any} */ row) => number(row.reward, 3), "n"],
      [t("arms.changes"), (/** @type {any} */ row) => html`<code>${JSON.stringify(placement.arms[row.arm] ?? {})}</code>`],
    ]} />`}`}</${Card}>`;
}

const Rules = ({ of: rules }) => html`<${Card} title=${t("rules.title")} name="rules"><${Table} label=${t("rules.title")} rows=${rules} columns=${[
  [t("rules.name"), (/** @type {any} */ row) => row.rule.name, "h"],
  [t("rules.action"), (/** @type {any} */ row) => row.rule.action],
  [t("rules.on"), (/** @type {any} */ row) => html`${row.rule.items.join(", ")} ${row.rule.filter && html`<code>${JSON.stringify(row.rule.filter)}</code>`}`],
  [t("rules.from"), (/** @type {any} */ row) => row.rule.starts_at ?? "–"],
  [t("rules.until"), (/** @type {any} */ row) => row.rule.ends_at ?? "–"],
  [t("rules.state"), (/** @type {any} */ row) => html`<span class=${RULE_STATE[/** @type {"true"} */ (String(row.active))]}>${t(row.active ? "rules.active" : "rules.resting")}</span>`],
]} /></${Card}>`;

const list = (/** @type {string} */ text) => text.split(",").map((id) => id.trim()).filter(Boolean);

function Preview({ name }) {
  const [slate, setSlate] = useState(/** @type {any} */ (null));
  const [titles, setTitles] = useState(/** @type {Record<string, string>} */ ({}));
  const [findings, setFindings] = useState(/** @type {any} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const onSubmit = async (/** @type {any} */ event) => {
    event.preventDefault();
    const { user, anon, items, wanted } = event.target.elements;
    const query = { placement: name, user_id: user.value.trim() || null, anon_id: anon.value.trim() || null, items: list(items.value) };
    setProblem(null);
    try {
      if (event.submitter?.name === "why") {
        setFindings(await send("POST", "/v1/why-not", { query, item_id: wanted.value.trim() || null }));
        return;
      }
      const found = await send("POST", "/v1/recommend?shown=0", { ...query, explain: true });
      const ids = found.items.map((/** @type {any} */ one) => one.item_id);
      const records = await Promise.all(ids.map((/** @type {string} */ id) => get(`/v1/items/${at(id)}`).catch(() => ({}))));
      setTitles(Object.fromEntries(ids.map((/** @type {string} */ id, /** @type {number} */ k) => [id, records[k].title ?? ""])));
      setSlate(found);
    } catch (wrong) {
      setProblem(wrong);
    }
  };
  return html`<${Card} title=${t("preview.title")} name="preview"><p class="soft">${t("preview.hint")}</p>
    <form onSubmit=${onSubmit}><div class="row">
      <label class="field"><span>${t("preview.user")}</span><input name="user" defaultValue=${route.value.query.get("user") ?? ""} /></label>
      <label class="field"><span>${t("preview.anon")}</span><input name="anon" defaultValue=${route.value.query.get("anon") ?? ""} /></label>
      <label class="field"><span>${t("preview.items")}</span><input name="items" defaultValue=${route.value.query.get("items") ?? ""} /></label>
      <button class="main" name="show">${t("preview.show")}</button></div>
      <div class="row"><label class="field"><span>${t("why.item")}</span><input name="wanted" /></label><button name="why">${t("why.title")}</button></div>
    </form>
    <${Problem} of=${problem} />
    <div role="status">${findings && html`<h3>${t("why.title")}</h3>${findings.findings.map((/** @type {any} */ one) => html`<p class="notice" key=${one.code} data-finding=${one.code}><code>${one.code}</code> ${one.message}${one.remedy && html`<br />${one.remedy}`}</p>`)}
      ${findings.findings.length === 0 && html`<p class="soft">${t("nothing")}</p>`}`}</div>
    ${slate && html`<p class="soft" role="status" data-slate>${t("preview.state", { rung: slate.rung, warmth: slate.warmth, arm: slate.arm || "–", offset: slate.offset })}</p>
    <${Table} label=${t("preview.title")} rows=${slate.items.map((/** @type {any} */ one, /** @type {number} */ k) => ({ ...one, place: k + 1 }))} id=${(/** @type {any} */ row) => row.item_id} columns=${[
      [t("preview.place"), (/** @type {any} */ row) => row.place, "n"],
      [t("preview.item"), (/** @type {any} */ row) => html`<code>${row.item_id}</code> ${titles[row.item_id]}`, "h"],
      [t("preview.score"), (/** @type {any} */ row) => score(row.score), "n"],
      [t("preview.reasons"), (/** @type {any} */ row) => row.reasons.map((/** @type {any} */ why) => html`<div key=${why.code + (why.item_id ?? "")}>${reason(why.code)} ${number(why.share)} ${why.item_id && html`<code>${why.item_id}</code>`} ${why.value ?? ""}</div>`)],
      [t("preview.sources"), (/** @type {any} */ row) => row.sources.join(", ")],
      [t("preview.trace"), (/** @type {any} */ row) => html`<${Trace} of=${row.trace ?? {}} />`],
    ]} />
    <details><summary>${t("preview.counts")}</summary><${Json} of=${slate.explanation} label=${t("preview.counts")} /></details>`}</${Card}>`;
}

/** Every term of the score that is not 0, the largest first. */
function Trace({ of: trace }) {
  const terms = Object.entries(trace).filter(([, value]) => value !== 0).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  return html`<details><summary>${t("preview.trace")}: ${terms.length}</summary><dl class="facts">${terms.map(([term, value]) => html`<dt key=${`t${term}`}>${term}</dt><dd key=${`d${term}`}>${score(value)}</dd>`)}</dl></details>`;
}
