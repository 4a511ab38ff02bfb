// @ts-check
/** Quality: the evaluation reports in the data directory, and what the gate said of the models in the store. */
import { html } from "../shop/html.js";
import { at, get } from "./api.js";
import { Chart } from "./chart.js";
import { say, t } from "./messages.js";
import { Card, Facts, Figures, Json, moment, number, Problem, Table, Title, useLoaded } from "./parts.js";
import { Link, route, to } from "./router.js";

say({
  "reports.title": ["Evaluation reports", "评估报告"],
  "reports.none": ["No report so far. This makes one; it replays the log on a virtual clock and takes minutes:", "尚无报告。以下命令可生成一份；它按虚拟时钟重放日志，需要数分钟："],
  "reports.made": ["Another one:", "再生成一份："],
  "reports.command": ["Command that makes a report", "生成报告的命令"],
  "reports.at": ["Made", "生成时间"],
  "reports.data": ["Data", "数据"],
  "reports.protocol": ["Protocol", "协议"],
  "reports.target": ["Target", "目标"],
  "reports.queries": ["Queries", "查询数"],
  "reports.hr": ["hr@20 of the hybrid", "混合模型 hr@20"],
  "reports.broken": ["cannot be read", "无法读取"],
  "reports.shown": ["Report", "报告"],
  "reports.users": ["Users", "用户"],
  "reports.items": ["Items", "商品"],
  "reports.ceiling": ["Queries with a right answer among the candidates", "候选中含正确答案的查询比例"],
  "reports.leaks.none": ["An engine that was never shown later events made the same lists (checked on a sample).", "从未见过后续事件的引擎给出了相同的列表（抽样检验）。"],
  "reports.leaks.some": ["The truncation check failed; the figures are worthless: {items}", "截断检验未通过，以下数字无效：{items}"],
  "reports.leaks.unknown": ["The truncation check was not made.", "未做截断检验。"],
  "reports.evidence": ["Not evidence: this protocol knows the future.", "不可作为证据：此协议会用到未来信息。"],
  "reports.models": ["Models", "模型"],
  "reports.models.hint": ["Means over queries; below, 95 % intervals by resampling users. The bar shows the interval of {metric}.", "对查询取平均；其下为按用户重采样的 95% 区间。条形表示 {metric} 的区间。"],
  "reports.model": ["Model", "模型"],
  "reports.interval": ["Interval", "区间"],
  "reports.gains": ["What the hybrid gains", "混合模型的提升"],
  "reports.gains.hint": ["Hybrid minus model on the same queries, hr@20; p two-sided, corrected over the models (Holm).", "同一批查询上混合模型减去该模型的 hr@20；双侧 p 值，已按模型数校正（Holm）。"],
  "reports.against": ["Against", "对比"],
  "reports.gain": ["Gain", "提升"],
  "reports.range": ["95 % interval", "95% 区间"],
  "reports.p": ["p", "p 值"],
  "reports.curve": ["hr@20 over time, steps of {h} h", "hr@20 随时间变化，每 {h} 小时"],
  "reports.slices": ["Slices", "分组"],
  "reports.slice": ["Slice", "分组"],
  "reports.best": ["Best single model", "最佳单一模型"],
  "reports.hybrid": ["Hybrid", "混合模型"],
  "reports.beyond": ["Beyond accuracy", "准确率之外"],
  "reports.again": ["Do it again", "再次运行"],
  "reports.whole": ["The whole verdict", "完整结果"],
  "stored.title": ["Models in the store", "已存储的模型"],
  "stored.none": ["No model is stored; endcap train makes them.", "尚无已存储的模型；endcap train 可生成。"],
  "stored.number": ["Number", "编号"],
  "stored.kind": ["Kind", "类型"],
  "stored.serves": ["Serves", "在用"],
  "stored.metric": ["Score at the gate: new, before", "准入得分：新、旧"],
  "stored.queries": ["Queries of the gate", "准入查询数"],
  "stored.more": ["All about them", "查看详情"],
  "stored.yes": ["yes", "是"],
  "stored.no": ["no", "否"],
});

const HYBRID = "hybrid";
const SHOWN = "hr@20";
const COLORS = ["--accent", "--focus", "--warn", "--good"];

export function Quality() {
  const { value, problem } = useLoaded(() => get("/v1/reports"), []);
  const reports = value?.reports ?? [];
  const name = route.value.id || reports.find((/** @type {any} */ one) => !one.error)?.name;
  return html`<${Title}>${t("page.quality")}</${Title}><${Problem} of=${problem} />
    ${value && html`<${Reports} of=${reports} command=${value.command} shown=${name} />`}
    ${name && html`<${Report} name=${name} key=${name} />`}<${Stored} />`;
}

const Reports = ({ of: reports, command, shown }) => html`<${Card} title=${t("reports.title")} name="reports">
  ${reports.length > 0 && html`<${Table} label=${t("reports.title")} rows=${reports} id=${(/** @type {any} */ row) => row.name} columns=${[
    [t("reports.at"), (/** @type {any} */ row) => row.error ? html`<code>${row.name}</code>` : html`<${Link} to=${to("quality", row.name)} aria-current=${row.name === shown ? "true" : null}>${moment(row.saved_at)}</${Link}>`, "h"],
    [t("reports.data"), (/** @type {any} */ row) => row.error ? html`<span class="bad">${t("reports.broken")}</span> ${row.error}` : row.data],
    [t("reports.protocol"), (/** @type {any} */ row) => row.protocol, "t"],
    [t("reports.target"), (/** @type {any} */ row) => row.target, "t"],
    [t("reports.queries"), (/** @type {any} */ row) => number(row.queries, 0), "n"],
    [t("reports.hr"), (/** @type {any} */ row) => number(row.hr20, 4), "n"],
  ]} />`}
  <p class="soft">${t(reports.length ? "reports.made" : "reports.none")}</p><pre tabindex="0" role="region" aria-label=${t("reports.command")}>${command}</pre></${Card}>`;

function Report({ name }) {
  const { value, problem } = useLoaded(() => get(`/v1/reports/${at(name)}`), [name]);
  if (!value) return html`<${Problem} of=${problem} />`;
  const { verdict } = value;
  const models = Object.entries(verdict.models).sort((a, b) => b[1][SHOWN] - a[1][SHOWN]);
  return html`<section class="stack" data-report=${name} aria-label=${t("reports.shown")}><h2>${verdict.data.name}: ${verdict.protocol}, ${verdict.target}</h2>
    <${Figures} of=${[
      [t("reports.queries"), number(verdict.targets, 0)], [t("reports.users"), number(verdict.users, 0)], [t("reports.items"), number(verdict.items, 0)],
      [t("reports.hr"), number(verdict.models[HYBRID]?.[SHOWN], 4)], [t("reports.ceiling"), number(verdict.candidates?.hr_ceiling, 4)],
    ]} />
    ${verdict.evidence === false && html`<p class="notice warn">${t("reports.evidence")}</p>`}<${Leaks} of=${verdict.leaks} />
    <${Models} of=${models} /><div class="grid"><${Gains} of=${verdict.gains?.[SHOWN] ?? {}} /><${Curve} of=${verdict.curve} best=${models.find(([one]) => !one.startsWith(HYBRID))?.[0]} /></div>
    <${Slices} of=${verdict.slices ?? []} /><${Beyond} of=${models} />
    <${Card} title=${t("reports.again")} name="again"><pre tabindex="0" role="region" aria-label=${t("reports.again")}>${value.command}</pre>
      <details><summary>${t("reports.whole")}</summary><${Json} of=${verdict} label=${t("reports.whole")} /></details></${Card}></section>`;
}

function Leaks({ of: leaks }) {
  if (!leaks) return html`<p class="notice">${t("reports.leaks.unknown")}</p>`;
  return leaks.length ? html`<p class="notice bad">${t("reports.leaks.some", { items: leaks.slice(0, 5).join(", ") })}</p>` : html`<p class="notice good">${t("reports.leaks.none")}</p>`;
}

/** Where an interval lies between 0 and the end of the scale; the numbers stand beside it, so it is only for the eye. */
const Band = ({ low, high, most }) => html`<span class="band" aria-hidden="true"><i style=${{ left: `${100 * low / most}%`, width: `${Math.max(1, 100 * (high - low) / most)}%` }}></i></span>`;

function Models({ of: models }) {
  const names = Object.keys(models[0]?.[1].ci ?? {});
  const most = Math.max(1e-9, ...models.map(([, figures]) => figures.ci[SHOWN]?.[1] ?? 0));
  return html`<${Card} title=${t("reports.models")} name="models"><p class="soft">${t("reports.models.hint", { metric: SHOWN })}</p>
    <${Table} label=${t("reports.models")} rows=${models} id=${(/** @type {any} */ row) => row[0]} columns=${[
      [t("reports.model"), (/** @type {any} */ [name]) => name === HYBRID ? html`<strong>${name}</strong>` : name, "h"],
      [t("reports.interval"), (/** @type {any} */ [, figures]) => figures.ci[SHOWN] && html`<${Band} low=${figures.ci[SHOWN][0]} high=${figures.ci[SHOWN][1]} most=${most} />`],
      ...names.map((name) => [name, (/** @type {any} */ [, figures]) => html`${number(figures[name], 4)}<br /><small class="soft">${figures.ci[name].map((/** @type {number} */ end) => number(end, 3)).join("–")}</small>`, "n"]),
    ]} /></${Card}>`;
}

const Gains = ({ of: gains }) => html`<${Card} title=${t("reports.gains")} name="gains"><p class="soft">${t("reports.gains.hint")}</p>
  <${Table} label=${t("reports.gains")} rows=${Object.entries(gains)} id=${(/** @type {any} */ row) => row[0]} columns=${[
    [t("reports.against"), (/** @type {any} */ [name]) => name, "h"],
    [t("reports.gain"), (/** @type {any} */ [, one]) => html`<span class=${one.low > 0 ? "good" : one.high < 0 ? "bad" : ""}>${number(one.mean, 4)}</span>`, "n"],
    [t("reports.range"), (/** @type {any} */ [, one]) => `${number(one.low, 4)} … ${number(one.high, 4)}`, "n"],
    [t("reports.p"), (/** @type {any} */ [, one]) => one.p_holm < 0.001 ? `< ${number(0.001, 3)}` : number(one.p_holm, 3), "n"],
  ]} /></${Card}>`;

function Curve({ of: curve, best }) {
  if (!curve || curve.ts.length < 2) return null;
  const chosen = [...new Set([HYBRID, best, "popular_1d", `${HYBRID}@inf`])].filter((name) => name && name in curve.models);
  const label = t("reports.curve", { h: curve.step_h });
  return html`<${Card} title=${label} name="curve"><ul class="tags">${chosen.map((name, k) => html`<li class="tag" key=${name}><i class="dot" style=${{ background: `var(${COLORS[k]})` }} aria-hidden="true"></i> ${name}</li>`)}</ul>
    <${Chart} label=${label} dated=${true} times=${curve.ts.map((/** @type {number} */ ms) => ms / 1000)} lines=${chosen.map((name, k) => ({ name, color: COLORS[k], values: curve.models[name][SHOWN] }))} /></${Card}>`;
}

/** The best of the single models of a slice. */
const single = (/** @type {any} */ piece) => Object.keys(piece.models).filter((name) => !name.startsWith(HYBRID)).sort((a, b) => piece.models[b][SHOWN] - piece.models[a][SHOWN])[0];

const Slices = ({ of: slices }) => html`<${Card} title=${t("reports.slices")} name="slices"><${Table} label=${t("reports.slices")} rows=${slices} columns=${[
  [t("reports.slice"), (/** @type {any} */ row) => `${row.kind}: ${row.name}`, "h"],
  [t("reports.queries"), (/** @type {any} */ row) => number(row.queries, 0), "n"],
  [`${t("reports.hybrid")}, ${SHOWN}`, (/** @type {any} */ row) => number(row.models[HYBRID]?.[SHOWN], 4), "n"],
  [t("reports.best"), (/** @type {any} */ row) => single(row) ?? "–"],
  [SHOWN, (/** @type {any} */ row) => number(row.models[single(row)]?.[SHOWN], 4), "n"],
]} /></${Card}>`;

function Beyond({ of: models }) {
  const names = Object.keys(models[0]?.[1].beyond ?? {});
  return html`<${Card} title=${t("reports.beyond")} name="beyond"><${Table} label=${t("reports.beyond")} rows=${models} id=${(/** @type {any} */ row) => row[0]} columns=${[
    [t("reports.model"), (/** @type {any} */ [name]) => name, "h"],
    ...names.map((name) => [name, (/** @type {any} */ [, figures]) => number(figures.beyond?.[name], 3), "n"]),
  ]} /></${Card}>`;
}

function Stored() {
  const { value, problem } = useLoaded(() => get("/v1/models"), []);
  return html`<${Card} title=${t("stored.title")} name="stored" tools=${html`<${Link} to=${to("models")}>${t("stored.more")}</${Link}>`}><${Problem} of=${problem} />
    ${value && (value.models.length === 0 ? html`<p class="soft">${t("stored.none")}</p>` : html`<${Table} label=${t("stored.title")} rows=${[...value.models].reverse()} id=${(/** @type {any} */ row) => row.number} columns=${[
      [t("stored.number"), (/** @type {any} */ row) => row.number, "h"],
      [t("stored.kind"), (/** @type {any} */ row) => row.kind, "t"],
      [t("stored.serves"), (/** @type {any} */ row) => t(row.serving ? "stored.yes" : "stored.no"), "t"],
      [t("stored.metric"), (/** @type {any} */ row) => row.meta.gate ? `${number(row.meta.gate.new, 4)}, ${number(row.meta.gate.old, 4)}` : "–", "n"],
      [t("stored.queries"), (/** @type {any} */ row) => number(row.meta.gate?.queries, 0), "n"],
    ]} />`)}</${Card}>`;
}
