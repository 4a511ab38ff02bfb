// @ts-check
/** Experiments: what runs, what each variant brought, how sure that is and since when, and how to stop it. */
import { html, useState } from "../shop/html.js";
import { at, get, send } from "./api.js";
import { Chart } from "./chart.js";
import { say, t } from "./messages.js";
import { Card, Facts, moment, number, Problem, Sure, Table, Title, useLoaded } from "./parts.js";
import { go, Link, route, to } from "./router.js";

say({
  "exp.none": ["No experiment so far. Start one below, or with endcap experiments start FILE.", "尚无实验。可在下方开始，或使用 endcap experiments start 文件。"],
  "exp.name": ["Experiment", "实验"],
  "exp.kind": ["Kind", "类型"],
  "exp.kind.ab": ["A/B", "A/B"],
  "exp.kind.aa": ["A/A: no difference, to check the machinery", "A/A：无差异，用于检验系统"],
  "exp.kind.interleave": ["interleaving", "交错比较"],
  "exp.share": ["Share of traffic", "流量占比"],
  "exp.state": ["State", "状态"],
  "exp.runs": ["runs", "进行中"],
  "exp.ended": ["ended", "已结束"],
  "exp.since": ["Since", "开始于"],
  "exp.ended_at": ["Ended", "结束于"],
  "exp.why": ["Why it ended", "结束原因"],
  "exp.planned": ["Planned lists", "计划列表数"],
  "exp.variant": ["Variant", "变体"],
  "exp.weight": ["Weight", "权重"],
  "exp.changes": ["What differs", "差异设置"],
  "exp.units": ["Shoppers", "用户数"],
  "exp.slates": ["Lists", "列表数"],
  "exp.reward": ["Reward per list", "每列表收益"],
  "exp.clicks": ["Clicks per list", "每列表点击"],
  "exp.lift": ["difference to {name}", "与 {name} 的差异"],
  "exp.better": ["better", "更好"],
  "exp.worse": ["worse", "更差"],
  "exp.open": ["open", "未定"],
  "exp.little": ["too little to say", "数据不足"],
  "exp.results": ["Results so far", "目前结果"],
  "exp.results.hint": ["Right at any time, however often you look. A range above 0 means better: you may stop then.", "任何时刻查看都有效。区间高于 0 即更好，此时可以停止。"],
  "exp.winner": ["{name} is better than {first}. You may stop and keep it.", "{name} 优于 {first}，可以停止并采用。"],
  "exp.keep": ["Every other variant is worse than {first}. You may stop and keep {first}.", "其他变体均不如 {first}，可以停止并保留 {first}。"],
  "exp.undecided": ["No winner yet.", "尚无优胜者。"],
  "exp.srm.bad": ["Sample ratio alarm (p = {p}): the shoppers seen do not fit the weights, so something decides who is counted. Believe nothing below before it is found.", "样本比例警报（p = {p}）：用户分布与权重不符，存在影响计数的因素。查明之前请勿相信以下结果。"],
  "exp.srm.good": ["The shoppers seen fit the weights (p = {p}).", "用户分布与权重相符（p = {p}）。"],
  "exp.crossovers": ["{n} shoppers were seen in more than one variant and are left out.", "{n} 名用户出现在多个变体中，已排除。"],
  "exp.time": ["Difference over time", "差异随时间变化"],
  "exp.metric": ["Of what", "指标"],
  "exp.low": ["low end", "下限"],
  "exp.high": ["high end", "上限"],
  "exp.difference": ["difference", "差异"],
  "exp.time.none": ["No point yet: the first is kept a minute after the first shopper.", "尚无数据点：首位用户出现一分钟后开始记录。"],
  "exp.won": ["Of {n} lists with a winner, {first} won {share} (95 % range {low} to {high}); {ties} ties.", "在 {n} 个有胜负的列表中，{first} 赢得 {share}（95% 区间 {low} 至 {high}）；{ties} 个平局。"],
  "exp.won.time": ["Share won by {first}, less a half", "{first} 的胜率减去一半"],
  "exp.rails": ["Guardrails, the last two minutes", "护栏（最近两分钟）"],
  "exp.rails.hint": ["A variant that clearly breaks one, where the first does not, ends the experiment.", "若某变体明显违反而首个变体没有，实验将自动结束。"],
  "exp.slow": ["Slow (over {ms} ms)", "慢（超过 {ms} 毫秒）"],
  "exp.failed": ["Failed (at most {share})", "失败（至多 {share}）"],
  "exp.empty": ["Empty (at most {share})", "空列表（至多 {share}）"],
  "exp.stop": ["Stop this experiment", "停止此实验"],
  "exp.stop.sure": ["Stop it? Everybody gets the placement as configured, and it cannot go on.", "确定停止？所有用户将恢复推荐位的默认设置，且无法继续。"],
  "exp.stop.why": ["Reason, for the record", "原因（存档）"],
  "exp.start": ["Start an experiment", "开始实验"],
  "exp.start.hint": ["Half of the shoppers see the placement as it is (now), half with these settings changed (new). More variants: POST /v1/experiments.", "一半用户看到现有设置（now），一半看到修改后的设置（new）。更多变体请用 POST /v1/experiments。"],
  "exp.start.settings": ["Settings that differ, as JSON", "差异设置（JSON）"],
  "exp.start.ranker": ["Ranker number (0: the one that serves)", "排序模型编号（0：当前服务）"],
  "exp.start.go": ["Start", "开始"],
});

const percent = (/** @type {number | null} */ share, digits = 1) => (share === null ? "–" : `${number(share * 100, digits)} %`);
const signed = (/** @type {number | null} */ value) => (value === null ? "–" : `${value > 0 ? "+" : ""}${number(value, 4)}`);

/** In which of four words a range is told, and in which colour. */
function verdict(/** @type {any} */ range) {
  if (!range || range.low === null || range.high === null) return ["exp.little", "soft"];
  if (range.low > 0) return ["exp.better", "good"];
  return range.high < 0 ? ["exp.worse", "bad"] : ["exp.open", "soft"];
}

async function load() {
  const [{ experiments }, { placements }] = await Promise.all([get("/v1/experiments"), get("/v1/placements")]);
  return { experiments: experiments.reverse(), placements: Object.keys(placements) };
}

export function Experiments() {
  const { value, problem, again } = useLoaded(load, []);
  const all = value?.experiments ?? [];
  const name = all.some((/** @type {any} */ one) => one.name === route.value.id) ? route.value.id : all[0]?.name;
  return html`<${Title}>${t("page.experiments")}</${Title}><${Problem} of=${problem} />
    ${value && html`<${Card} title=${t("page.experiments")} name="experiments" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
      ${all.length === 0 ? html`<p class="soft">${t("exp.none")}</p>` : html`<${Table} label=${t("page.experiments")} rows=${all} id=${(/** @type {any} */ row) => row.name} columns=${[
        [t("exp.name"), (/** @type {any} */ row) => html`<${Link} to=${to("experiments", row.name)} aria-current=${row.name === name ? "true" : null}>${row.name}</${Link}>`, "h"],
        [t("exp.kind"), (/** @type {any} */ row) => t(`exp.kind.${row.kind}`)],
        [t("placements.choose"), (/** @type {any} */ row) => row.placement],
        [t("exp.share"), (/** @type {any} */ row) => percent(row.share), "n"],
        [t("exp.since"), (/** @type {any} */ row) => moment(row.started_at), "t"],
        [t("exp.state"), (/** @type {any} */ row) => html`<span class=${row.ended_at ? "soft" : "good"}>${t(row.ended_at ? "exp.ended" : "exp.runs")}</span>`],
      ]} />`}</${Card}>
    ${name && html`<${One} name=${name} key=${name} changed=${again} />`}
    <${Start} placements=${value.placements} begun=${again} />`}`;
}

async function loadOne(/** @type {string} */ name) {
  const [view, { points }] = await Promise.all([get(`/v1/experiments/${at(name)}`), get(`/v1/experiments/${at(name)}/history`)]);
  return { ...view, points };
}

function One({ name, changed }) {
  const { value, problem, again } = useLoaded(() => loadOne(name), [name]);
  if (!value) return html`<${Problem} of=${problem} />`;
  const { experiment, results, preference, measured, points } = value;
  const stop = async (/** @type {string} */ reason) => {
    await send("POST", `/v1/experiments/${at(name)}/stop`, reason ? { reason } : {});
    again();
    changed();
  };
  return html`<${Problem} of=${problem} />
    <${Card} title=${`${t("exp.results")}: ${name}`} name="results" tools=${html`<button type="button" onClick=${again}>${t("again")}</button>`}>
      <p class="soft">${t("exp.results.hint")}</p>
      ${results && html`<${Sample} of=${results} /><${Winner} of=${results} /><${Variants} experiment=${experiment} results=${results} />`}
      ${preference && html`<${Won} experiment=${experiment} of=${preference} />`}
    </${Card}>
    <${History} experiment=${experiment} results=${results} preference=${preference} points=${points} />
    <div class="grid"><${Rails} experiment=${experiment} measured=${measured} /><${About} of=${experiment} stop=${stop} /></div>`;
}

const Sample = ({ of: results }) => html`
  <p class=${`notice ${results.sample_ratio_alarm ? "bad" : "good"}`} data-sample=${results.sample_ratio_alarm ? "alarm" : "fine"}>
    ${t(results.sample_ratio_alarm ? "exp.srm.bad" : "exp.srm.good", { p: number(results.sample_ratio_p, 4) })}</p>
  ${results.crossovers > 0 && html`<p class="soft">${t("exp.crossovers", { n: number(results.crossovers, 0) })}</p>`}`;

/** Who won, by the reward. */
function Winner({ of: results }) {
  const [[first], ...others] = /** @type {[string, any][]} */ (Object.entries(results.variants));
  const ahead = others.filter(([, one]) => verdict(one.reward_difference)[0] === "exp.better").sort((a, b) => b[1].reward_difference.value - a[1].reward_difference.value);
  const behind = others.every(([, one]) => verdict(one.reward_difference)[0] === "exp.worse");
  const said = ahead.length ? t("exp.winner", { name: ahead[0][0], first }) : t(behind ? "exp.keep" : "exp.undecided", { first });
  return html`<p class=${`notice ${ahead.length || behind ? "good" : ""}`} role="status" data-winner>${said}</p>`;
}

function Variants({ experiment, results }) {
  const [[first, base], ...rest] = /** @type {[string, any][]} */ (Object.entries(results.variants));
  const rows = [[first, base], ...rest].map(([name, one]) => ({ name, ...one }));
  const brought = (/** @type {number} */ rate, /** @type {any} */ found, /** @type {number} */ per) => html`${number(rate, 4)}${found && html`<br />
    ${signed(found.value)} ${per > 0 && found.low !== null && `(${percent(found.value / per)})`} <span class="soft">${found.low === null ? "" : `${signed(found.low)} … ${signed(found.high)}`}</span>
    <span class=${`word ${verdict(found)[1]}`}> ${t(verdict(found)[0])}</span>`}`;
  return html`<${Table} label=${t("exp.results")} rows=${rows} id=${(/** @type {any} */ row) => row.name} columns=${[
    [t("exp.variant"), (/** @type {any} */ row) => row.name, "h"],
    [t("exp.weight"), (/** @type {any} */ row) => percent(experiment.variants[row.name].weight), "n"],
    [t("exp.units"), (/** @type {any} */ row) => number(row.units, 0), "n"],
    [t("exp.slates"), (/** @type {any} */ row) => number(row.slates, 0), "n"],
    [`${t("exp.reward")}, ${t("exp.lift", { name: first })}`, (/** @type {any} */ row) => brought(row.reward_per_slate, row.reward_difference, base.reward_per_slate)],
    [`${t("exp.clicks")}, ${t("exp.lift", { name: first })}`, (/** @type {any} */ row) => brought(row.clicks_per_slate, row.clicks_difference, base.clicks_per_slate)],
    [t("exp.changes"), (/** @type {any} */ row) => html`<code>${changes(experiment.variants[row.name])}</code>`],
  ]} />`;
}

const changes = (/** @type {any} */ variant) => [
  ...Object.entries(variant.settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`), ...(variant.ranker ? [`ranker = ${variant.ranker}`] : []),
].join(", ") || "–";

const Won = ({ experiment, of }) => html`<p class="notice" role="status" data-winner>${t("exp.won", {
  n: number(of.wins + of.losses, 0), first: Object.keys(experiment.variants)[0], share: percent(of.share), low: percent(of.low), high: percent(of.high), ties: number(of.ties, 0),
})} ${t(of.low > 0.5 ? "exp.better" : of.high < 0.5 ? "exp.worse" : "exp.open")}</p>`;

/** The difference of each variant with its range, over time; the last point is now. */
function History({ experiment, results, preference, points }) {
  const [metric, setMetric] = useState("reward");
  const [first, ...others] = Object.keys(experiment.variants);
  const half = preference ? 0.5 : 0;
  const now = preference
    ? { interleaved: { value: preference.share ?? 0.5, low: preference.low, high: preference.high } }
    : Object.fromEntries(others.map((name) => [name, results.variants[name][`${metric}_difference`]]));
  const shown = [...points.map((/** @type {any} */ one) => ({ ts: one.ts, of: one[preference ? "reward" : metric] })), { ts: experiment.ended_at || Date.now(), of: now }];
  const times = shown.map((one) => one.ts / 1000);
  const of = (/** @type {string} */ name, /** @type {string} */ end) => shown.map((one) => {
    const value = one.of[name]?.[end] ?? null;
    return value === null ? null : value - half;
  });
  return html`<${Card} title=${t("exp.time")} name="history" tools=${!preference && html`<label class="field"><span>${t("exp.metric")}</span>
      <select value=${metric} onChange=${(/** @type {any} */ event) => setMetric(event.target.value)}>
        ${["reward", "clicks"].map((name) => html`<option value=${name} key=${name}>${t(`exp.${name}`)}</option>`)}</select></label>`}>
    ${points.length === 0 ? html`<p class="soft">${t("exp.time.none")}</p>` : (preference ? ["interleaved"] : others).map((name) => html`<div key=${name + metric + points.length}>
      <h3>${preference ? t("exp.won.time", { first }) : `${name}: ${t("exp.lift", { name: first })}`}</h3>
      <${Chart} signed label=${`${name}: ${t("exp.time")}`} times=${times} lines=${[
        { name: t("exp.difference"), color: "--accent", values: of(name, "value") },
        { name: t("exp.low"), color: "--focus", values: of(name, "low"), thin: true },
        { name: t("exp.high"), color: "--focus", values: of(name, "high"), thin: true },
      ]} /></div>`)}</${Card}>`;
}

const Rails = ({ experiment, measured }) => html`<${Card} title=${t("exp.rails")} name="rails"><p class="soft">${t("exp.rails.hint")}</p>
  <${Table} label=${t("exp.rails")} rows=${Object.entries(measured).map(([name, of]) => ({ name, .../** @type {any} */ (of) }))} columns=${[
    [t("exp.variant"), (/** @type {any} */ row) => row.name, "h"],
    [t("exp.slates"), (/** @type {any} */ row) => number(row.slates, 0), "n"],
    [t("exp.slow", { ms: number(experiment.guardrails.max_p99_ms, 0) }), (/** @type {any} */ row) => number(row.slow, 0), "n"],
    [t("exp.failed", { share: percent(experiment.guardrails.max_error_share) }), (/** @type {any} */ row) => number(row.failed, 0), "n"],
    [t("exp.empty", { share: percent(experiment.guardrails.max_empty_share) }), (/** @type {any} */ row) => number(row.empty, 0), "n"],
  ]} /></${Card}>`;

function About({ of: one, stop }) {
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  return html`<${Card} title=${one.name} name="about"><${Facts} of=${[
      [t("exp.kind"), t(`exp.kind.${one.kind}`)],
      [t("placements.choose"), one.placement],
      [t("exp.share"), `${percent(one.share)} (${number(one.first, 3)} … ${number(one.first + one.share, 3)})`],
      [t("exp.planned"), number(one.planned, 0)],
      [t("exp.since"), moment(one.started_at)],
      [t("exp.ended_at"), one.ended_at ? moment(one.ended_at) : ""],
      [t("exp.why"), one.stopped],
    ]} />
    <${Problem} of=${problem} />
    ${!one.ended_at && html`<label class="field"><span>${t("exp.stop.why")}</span><input value=${reason} maxlength="500" onInput=${(/** @type {any} */ event) => setReason(event.target.value)} /></label>
      <div><${Sure} label=${t("exp.stop")} question=${t("exp.stop.sure")} act=${() => stop(reason.trim()).catch(setProblem)} /></div>`}</${Card}>`;
}

function Start({ placements, begun }) {
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const onSubmit = async (/** @type {any} */ event) => {
    event.preventDefault();
    const { name, kind, placement, share, planned, settings, ranker } = event.target.elements;
    const alike = kind.value === "aa";
    try {
      const other = alike ? {} : { settings: JSON.parse(settings.value || "{}"), ranker: Number(ranker.value) };
      const made = await send("POST", "/v1/experiments", {
        name: name.value.trim(), kind: kind.value, placement: placement.value, share: Number(share.value) / 100, planned: Number(planned.value),
        variants: { now: { weight: 0.5 }, new: { weight: 0.5, ...other } },
      });
      setProblem(null);
      begun();
      go(to("experiments", made.name));
    } catch (wrong) {
      setProblem(wrong);
    }
  };
  return html`<${Card} title=${t("exp.start")} name="start"><p class="soft">${t("exp.start.hint")}</p>
    <form onSubmit=${onSubmit} class="stack"><div class="row">
      <label class="field"><span>${t("exp.name")}</span><input name="name" required maxlength="64" /></label>
      <label class="field"><span>${t("exp.kind")}</span><select name="kind">${["ab", "interleave", "aa"].map((kind) => html`<option value=${kind} key=${kind}>${t(`exp.kind.${kind}`)}</option>`)}</select></label>
      <label class="field"><span>${t("placements.choose")}</span><select name="placement">${placements.map((/** @type {string} */ one) => html`<option value=${one} key=${one}>${one}</option>`)}</select></label>
      <label class="field"><span>${t("exp.share")}, %</span><input name="share" type="number" min="0.1" max="100" step="0.1" defaultValue="100" required /></label>
      <label class="field"><span>${t("exp.planned")}</span><input name="planned" type="number" min="1" defaultValue="100000" required /></label>
      <label class="field"><span>${t("exp.start.ranker")}</span><input name="ranker" type="number" min="0" defaultValue="0" required /></label></div>
      <label class="field"><span>${t("exp.start.settings")}</span><textarea name="settings" rows="3" spellcheck="false" defaultValue=${'{ "diversity": 0.5 }'}></textarea></label>
      <${Problem} of=${problem} />
      <div><button class="main">${t("exp.start.go")}</button></div>
    </form></${Card}>`;
}
