// @ts-check
/** Models: what is stored, what serves, what the gate said, into service and back, and a training. */
import { html, useEffect, useState } from "../shop/html.js";
import { get, send } from "./api.js";
import { t } from "./messages.js";
import { bytes, Card, Json, moment, number, Problem, Sure, Table, Title, useLoaded } from "./parts.js";

const LEAST_QUERIES = 30; // below, the gate says nothing (learning/gate.py)
const SURE = 1.96; // standard errors on either side: 95 %
const LOOK_MS = 1000;

export function Models() {
  const { value, problem, again } = useLoaded(() => get("/v1/models"), []);
  const [wrong, setWrong] = useState(/** @type {unknown} */ (null));
  const change = (/** @type {string} */ what, /** @type {unknown} */ body) => send("POST", `/v1/models/${what}`, body).then(() => setWrong(null), setWrong).finally(again);
  return html`<${Title}>${t("page.models")}</${Title}><${Problem} of=${problem} /><${Problem} of=${wrong} />
    ${value && html`${value.problem && html`<p class="notice bad" role="alert">${value.problem}</p>`}
      <${Serving} of=${value.kinds.filter((/** @type {any} */ one) => one.number || one.before.length)} back=${(/** @type {string} */ kind) => change("rollback", { kind })} />
      <${Stored} of=${[...value.models].reverse()} promote=${(/** @type {number} */ number_) => change("promote", { number: number_ })} again=${again} />
      <${Training} kinds=${value.kinds.map((/** @type {any} */ one) => one.kind)} done=${again} />`}`;
}

const Serving = ({ of: kinds, back }) => html`<${Card} title=${t("models.serving")} name="serving"><${Table} label=${t("models.serving")} rows=${kinds} id=${(/** @type {any} */ row) => row.kind} columns=${[
  [t("models.kind"), (/** @type {any} */ row) => row.kind, "h"],
  [t("models.number"), (/** @type {any} */ row) => row.number || "–", "n"],
  [t("models.since"), (/** @type {any} */ row) => moment(row.since), "t"],
  [t("models.before"), (/** @type {any} */ row) => row.before.join(", ") || "–"],
  [t("models.back"), (/** @type {any} */ row) => html`<${Sure} label=${`${t("models.back")}: ${row.kind}`} act=${() => back(row.kind)}
    question=${t("models.back.sure", { name: row.before.at(-1) ?? t("models.back.nothing", { kind: row.kind }) })} />`],
]} /></${Card}>`;

/** What a model was trained on, in words. */
function learned(/** @type {any} */ meta) {
  const offset = meta.last_offset ?? meta.offset;
  return [
    meta.queries !== undefined && t("models.learned.queries", { queries: number(meta.queries, 0), rows: number(meta.rows, 0) }),
    meta.pairs !== undefined && t("models.learned.pairs", { n: number(meta.pairs, 0) }),
    meta.records !== undefined && t("models.learned.records", { n: number(meta.records, 0) }),
    meta.file !== undefined && String(meta.file),
    offset !== undefined && t("models.learned.offset", { offset: number(offset, 0) }),
  ].filter(Boolean).join(" · ");
}

function Gate({ of: gate, kind }) {
  if (!gate) return html`<span class="soft">${t("models.gate.none")}</span>`;
  const facts = { new: number(gate.new, 4), old: number(gate.old, 4), n: number(gate.queries, 0) };
  const numbers = gate.standard_error === undefined
    ? t("models.gate.plain", facts)
    : t("models.gate.numbers", { ...facts, gain: number(gate.new - gate.old, 4), margin: number(gate.standard_error * SURE, 4) });
  if (gate.passed === undefined) return numbers;
  const ranker = kind === "ranker";
  const word = gate.passed ? (ranker ? "passed" : "helps") : gate.queries < LEAST_QUERIES ? "few" : ranker ? "worse" : "useless";
  return html`<span class=${gate.passed ? "good" : "warn"} data-gate=${word}>${t(`models.gate.${word}`)}</span><br />${numbers}`;
}

function Stored({ of: models, promote, again }) {
  const state = (/** @type {any} */ row) => row.error ? html`<span class="bad word">${t("models.broken")}</span><br />${row.error}` : html`<span class=${`word ${row.serving ? "good" : "soft"}`}>${t(row.serving ? "models.serves" : "models.rests")}</span>`;
  return html`<${Card} title=${t("models.stored")} name="stored" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
    ${models.length === 0 ? html`<p class="soft">${t("models.none")}</p>` : html`<${Table} label=${t("models.stored")} rows=${models} id=${(/** @type {any} */ row) => row.number} columns=${[
      [t("models.number"), (/** @type {any} */ row) => row.number, "h"],
      [t("models.kind"), (/** @type {any} */ row) => row.kind, "t"],
      [t("models.state"), state],
      [t("models.gate"), (/** @type {any} */ row) => html`<${Gate} of=${row.meta.gate} kind=${row.kind} />`],
      [t("models.learned"), (/** @type {any} */ row) => html`${learned(row.meta)}<details><summary>${t("models.all")}</summary><${Json} of=${row.meta} label=${`${t("models.all")}: ${row.number}`} /></details>`],
      [t("models.at"), (/** @type {any} */ row) => moment(row.stored_at), "t"],
      [t("models.size"), (/** @type {any} */ row) => bytes(row.bytes), "n"],
      [t("models.promote"), (/** @type {any} */ row) => !row.serving && !row.error && html`<${Sure} danger=${false} label=${`${t("models.promote")} ${row.number}`} question=${t("models.promote.sure", { number: row.number })} act=${() => promote(row.number)} />`],
    ]} />`}</${Card}>`;
}

function Training({ kinds, done }) {
  const { value, problem, again } = useLoaded(() => get("/v1/models/training"), []);
  const [wrong, setWrong] = useState(/** @type {unknown} */ (null));
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    if (!value) return undefined;
    if (!value.running) {
      if (seen) done();
      setSeen(false);
      return undefined;
    }
    setSeen(true);
    const timer = setTimeout(again, LOOK_MS);
    return () => clearTimeout(timer);
  }, [value]);
  const onSubmit = (/** @type {any} */ event) => {
    event.preventDefault();
    const kind = event.target.elements.kind.value;
    send("POST", "/v1/models/training", { kinds: kind ? [kind] : [] }).then(() => setWrong(null), setWrong).finally(again);
  };
  return html`<${Card} title=${t("models.train")} name="training"><p class="soft">${t("models.train.hint")} ${value && t(value.every_h ? "models.train.every" : "models.train.never", { n: number(value.every_h) })}</p>
    <${Problem} of=${problem} /><${Problem} of=${wrong} />
    <form onSubmit=${onSubmit}><div class="row"><label class="field"><span>${t("models.train.what")}</span><select name="kind">
      <option value="">${t("models.train.usual")}</option>${kinds.map((/** @type {string} */ kind) => html`<option value=${kind} key=${kind}>${kind}</option>`)}</select></label>
      <button class="main" disabled=${value?.running}>${t("models.train.go")}</button></div></form>
    <div role="status" data-training=${!value?.started_at ? "none" : value.running ? "runs" : value.failed ? "failed" : "done"}>${value?.started_at > 0 && html`<${Progress} of=${value} />`}</div>
    ${value?.said && html`<h3>${t("models.train.said")}</h3><pre tabindex="0" role="region" aria-label=${t("models.train.said")}>${value.said}</pre>`}</${Card}>`;
}

function Progress({ of: training }) {
  const { stage, done, total } = training.progress;
  const time = moment(training.started_at);
  if (!training.running) return html`<p class=${`notice ${training.failed ? "bad" : "good"}`}>${t(training.failed ? "models.train.failed" : "models.train.done", { time })}</p>`;
  const words = t("models.train.runs", { time, stage: stage || t("models.train.begins") });
  return html`<p>${words} ${total > 0 && `${number(done, 0)} / ${number(total, 0)}`}</p>${total > 0 ? html`<progress aria-label=${words} value=${done} max=${total}></progress>` : html`<progress aria-label=${words}></progress>`}`;
}
