// @ts-check
/** Models: what is stored, what serves, what the gate said, into service and back, and a training. */
import { html, useEffect, useState } from "../shop/html.js";
import { get, send } from "./api.js";
import { say, t } from "./messages.js";
import { bytes, Card, Json, moment, number, Problem, Sure, Table, Title, useLoaded } from "./parts.js";

say({
  "models.serving": ["What serves", "正在服务"],
  "models.kind": ["Kind", "类型"],
  "models.number": ["Number", "编号"],
  "models.since": ["In use here since", "本服务器启用时间"],
  "models.before": ["Before it", "之前"],
  "models.back": ["Roll back", "回滚"],
  "models.back.sure": ["Return to {name}?", "回滚到 {name}？"],
  "models.back.nothing": ["no {kind} (rankers: the fixed weights)", "不使用 {kind}（排序模型：固定权重）"],
  "models.stored": ["Stored models", "已存模型"],
  "models.none": ["No trained model yet.", "尚无训练好的模型。"],
  "models.state": ["State", "状态"],
  "models.serves": ["serves", "服务中"],
  "models.rests": ["stored", "已存储"],
  "models.broken": ["cannot be used", "不可用"],
  "models.at": ["Trained", "训练时间"],
  "models.size": ["Size", "大小"],
  "models.learned": ["Learned from", "训练数据"],
  "models.learned.queries": ["{queries} requests, {rows} rows", "{queries} 个请求，{rows} 行"],
  "models.learned.pairs": ["{n} pairs of shopper and item", "{n} 个用户与商品对"],
  "models.learned.records": ["{n} records", "{n} 条记录"],
  "models.learned.offset": ["log to offset {offset}", "日志至 {offset}"],
  "models.gate": ["Gate", "准入检验"],
  "models.gate.none": ["no gate for this kind", "此类型无需检验"],
  "models.gate.numbers": ["NDCG@20 {new}, before {old}; difference {gain} ± {margin} (95 %), {n} requests", "NDCG@20 {new}，此前 {old}；差异 {gain} ± {margin}（95%），{n} 个请求"],
  "models.gate.plain": ["NDCG@20 {new}, before {old}, {n} requests", "NDCG@20 {new}，此前 {old}，{n} 个请求"],
  "models.gate.passed": ["passed: not worse than what served", "通过：不逊于此前的模型"],
  "models.gate.helps": ["passed: it helps the ranker", "通过：对排序有帮助"],
  "models.gate.worse": ["not passed: worse than what served", "未通过：逊于此前的模型"],
  "models.gate.useless": ["not passed: it brings the ranker nothing", "未通过：对排序没有帮助"],
  "models.gate.few": ["not passed: too few requests to judge by", "未通过：可供评判的请求过少"],
  "models.promote": ["Promote", "启用"],
  "models.promote.sure": ["Let model {number} serve?", "启用模型 {number}？"],
  "models.all": ["All facts", "全部信息"],
  "models.train": ["Training", "训练"],
  "models.train.hint": ["Runs beside the server at low priority. A ranker serves only if the gate lets it pass.", "在服务器旁以低优先级运行。排序模型须通过检验才会启用。"],
  "models.train.what": ["What", "内容"],
  "models.train.usual": ["the usual: ranker, factors, content, deep models that serve", "常规：排序、因子、内容及在用的深度模型"],
  "models.train.go": ["Start a training", "开始训练"],
  "models.train.runs": ["A training runs since {time}: {stage}", "训练进行中，始于 {time}：{stage}"],
  "models.train.begins": ["starting", "正在启动"],
  "models.train.done": ["The training that began at {time} is done.", "始于 {time} 的训练已完成。"],
  "models.train.failed": ["The training that began at {time} failed.", "始于 {time} 的训练失败。"],
  "models.train.every": ["By itself every {n} hours, when there is news.", "有新数据时每 {n} 小时自动训练。"],
  "models.train.never": ["None is scheduled (learning.every_h).", "未设定自动训练（learning.every_h）。"],
  "models.train.said": ["What it said", "输出"],
});

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
