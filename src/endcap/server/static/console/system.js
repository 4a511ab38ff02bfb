// @ts-check
/** System: the process, its log, snapshots, memory, settings with their sources, and the doctor. */
import { html, useState } from "../shop/html.js";
import { get, send } from "./api.js";
import { say, t } from "./messages.js";
import { Bar, bytes, Card, Facts, Figures, moment, number, Problem, Table, Title, useLoaded } from "./parts.js";

say({
  "sys.version": ["Version", "版本"],
  "sys.up": ["Up for", "已运行"],
  "sys.hours": ["{h} h {m} min", "{h} 小时 {m} 分"],
  "sys.events": ["Events in the log", "日志中的事件"],
  "sys.users": ["Shoppers known", "已知用户"],
  "sys.items": ["Items known", "已知商品"],
  "sys.memory": ["Memory", "内存"],
  "sys.process": ["Process", "进程"],
  "sys.python": ["Python", "Python"],
  "sys.machine": ["Machine", "机器"],
  "sys.directory": ["Data directory", "数据目录"],
  "sys.keys": ["Keys", "密钥"],
  "sys.keys.on": ["needed", "需要"],
  "sys.keys.off": ["open server, on this machine only", "开放服务器，仅限本机"],
  "sys.start": ["Last start", "上次启动"],
  "sys.start.how": ["{n} events folded in {s} s, snapshot at {offset}", "{s} 秒内折叠 {n} 个事件，快照位置 {offset}"],
  "sys.log": ["Log", "日志"],
  "sys.size": ["Size", "大小"],
  "sys.newest": ["Newest event", "最新事件"],
  "sys.durability": ["Durability", "持久性"],
  "sys.pending": ["Waiting for the disk", "等待写盘"],
  "sys.snapshots": ["Snapshots", "快照"],
  "sys.snapshots.hint": ["Saved state, so that a start is quick. Losing one costs time, never data.", "保存的状态，加快启动；丢失只费时间，不丢数据。"],
  "sys.snapshot.make": ["Make a snapshot now", "立即生成快照"],
  "sys.saved": ["Saved", "保存时间"],
  "sys.parts": ["Memory by part of the state", "各部分状态占用内存"],
  "sys.part": ["Part", "部分"],
  "sys.peak": ["Most so far", "峰值"],
  "sys.jobs": ["Beside requests", "后台任务"],
  "sys.jobs.training": ["Training", "训练"],
  "sys.jobs.training.on": ["runs", "进行中"],
  "sys.jobs.training.off": ["rests", "空闲"],
  "sys.jobs.feeds": ["Feeds read", "读取的商品源"],
  "sys.jobs.experiments": ["Experiments running", "进行中的实验"],
  "sys.jobs.views": ["Live views open", "打开的实时视图"],
  "sys.encoders": ["Encoders", "编码器"],
  "sys.encoder.for": ["Of", "类型"],
  "sys.encoder": ["Encoder", "编码器"],
  "sys.encoder.dim": ["Numbers", "维数"],
  "sys.encoder.state": ["State", "状态"],
  "sys.encoder.best": ["active", "已启用"],
  "sys.encoder.fallback": ["fallback; a better one needs: {missing}", "后备；更好的需要：{missing}"],
  "sys.encoder.none": ["none; needs: {missing}", "无；需要：{missing}"],
  "sys.settings": ["Settings in force", "生效的设置"],
  "sys.settings.hint": ["Secrets are not shown. Change them in endcap.toml and restart.", "机密不显示。请在 endcap.toml 中修改并重启。"],
  "sys.settings.find": ["Find", "查找"],
  "sys.settings.changed": ["only what differs from the defaults", "仅显示非默认值"],
  "sys.setting": ["Setting", "设置"],
  "sys.value": ["Value", "值"],
  "sys.source": ["Source", "来源"],
  "sys.checks": ["Doctor", "诊断"],
  "sys.checks.hint": ["Looks at the machine and the data, and writes a few bytes to time the disk.", "检查机器与数据，并写入少量字节以测量磁盘。"],
  "sys.checks.run": ["Check now", "立即检查"],
  "sys.check": ["Check", "检查项"],
  "sys.found": ["Found", "结果"],
  "sys.level.ok": ["fine", "正常"],
  "sys.level.note": ["note", "提示"],
  "sys.level.warning": ["warning", "警告"],
  "sys.level.error": ["error", "错误"],
  "sys.state": ["State", "状态"],
});

const LEVELS = { ok: "good", note: "soft", warning: "warn", error: "bad" };

const span = (/** @type {number} */ ms) => t("sys.hours", { h: number(Math.floor(ms / 3_600_000), 0), m: Math.floor(ms / 60_000) % 60 });

export function System() {
  const { value, problem, again } = useLoaded(() => get("/v1/system"), []);
  return html`<div class="card-head"><${Title}>${t("page.system")}</${Title}><button type="button" onClick=${again}>${t("again")}</button></div><${Problem} of=${problem} />
    ${value && html`<${Figures} of=${[
        [t("sys.version"), value.version],
        [t("sys.up"), span(value.now - value.started_at)],
        [t("sys.events"), number(value.log.events, 0)],
        [t("sys.users"), number(value.users, 0)],
        [t("sys.items"), number(value.items, 0)],
        [t("sys.memory"), value.memory.process === null ? null : bytes(value.memory.process)],
      ]} />
      <div class="grid"><${Log} of=${value} /><${Snapshots} of=${value.snapshots} done=${again} /><${Process} of=${value} /><${Jobs} of=${value.jobs} /><${Memory} of=${value.memory} /><${Encoders} of=${value.encoders} /></div>`}
    <${Doctor} /><${Settings} />`;
}

const Log = ({ of: { log, jobs } }) => html`<${Card} title=${t("sys.log")} name="log"><${Facts} of=${[
  [t("live.offset"), number(log.offset, 0)],
  [t("sys.size"), log.bytes === null ? "" : bytes(log.bytes)],
  [t("sys.newest"), moment(log.newest_at)],
  [t("sys.durability"), log.durability],
  [t("sys.pending"), number(jobs.pending_events, 0)],
]} /></${Card}>`;

function Snapshots({ of: snapshots, done }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const make = () => {
    setBusy(true);
    send("POST", "/v1/system/snapshot", {}).then(() => setProblem(null), setProblem).finally(() => {
      setBusy(false);
      done();
    });
  };
  return html`<${Card} title=${t("sys.snapshots")} name="snapshots" tools=${html`<button type="button" disabled=${busy} onClick=${make}>${t("sys.snapshot.make")}</button>`}>
    <p class="soft">${t("sys.snapshots.hint")}</p><${Problem} of=${problem} />
    <${Table} label=${t("sys.snapshots")} rows=${snapshots} id=${(/** @type {any} */ row) => row.offset} columns=${[
      [t("live.offset"), (/** @type {any} */ row) => number(row.offset, 0), "n"],
      [t("sys.saved"), (/** @type {any} */ row) => moment(row.saved_at), "t"],
      [t("sys.size"), (/** @type {any} */ row) => bytes(row.bytes), "n"],
    ]} /></${Card}>`;
}

const Process = ({ of: value }) => html`<${Card} title=${t("sys.process")} name="process"><${Facts} of=${[
  [t("sys.process"), value.pid],
  [t("sys.python"), value.python],
  [t("sys.machine"), value.platform],
  [t("sys.directory"), value.directory],
  [t("sys.keys"), t(value.keys ? "sys.keys.on" : "sys.keys.off")],
  [t("sys.start"), t("sys.start.how", { n: number(value.start.replayed, 0), s: number(value.start.seconds, 1), offset: number(value.start.snapshot_offset, 0) })],
]} /></${Card}>`;

const Jobs = ({ of: jobs }) => html`<${Card} title=${t("sys.jobs")} name="jobs"><${Facts} of=${[
  [t("sys.jobs.training"), jobs.training && t(jobs.training.running ? "sys.jobs.training.on" : "sys.jobs.training.off")],
  [t("sys.jobs.experiments"), number(jobs.experiments, 0)],
  [t("sys.jobs.feeds"), number(jobs.feeds, 0)],
  [t("sys.jobs.views"), number(jobs.live_views, 0)],
]} /></${Card}>`;

function Memory({ of: memory }) {
  const parts = /** @type {[string, number][]} */ (Object.entries(memory.parts));
  const most = Math.max(1, ...parts.map(([, size]) => size));
  return html`<${Card} title=${t("sys.parts")} name="memory"><${Facts} of=${[[t("sys.peak"), bytes(memory.peak)]]} />
    <${Table} label=${t("sys.parts")} rows=${parts} id=${(/** @type {any} */ row) => row[0]} columns=${[
      [t("sys.part"), (/** @type {any} */ row) => row[0], "h"],
      [t("sys.size"), (/** @type {any} */ row) => html`${bytes(row[1])}<${Bar} share=${row[1] / most} />`, "n"],
    ]} /></${Card}>`;
}

function standing(/** @type {any} */ one) {
  const missing = one.missing.join(", ");
  if (!one.usable) return html`<span class="warn">${t("sys.encoder.none", { missing })}</span>`;
  return one.fallback ? html`<span class="soft">${t("sys.encoder.fallback", { missing })}</span>` : html`<span class="good">${t("sys.encoder.best")}</span>`;
}

const Encoders = ({ of: encoders }) => html`<${Card} title=${t("sys.encoders")} name="encoders"><${Table} label=${t("sys.encoders")} rows=${encoders} columns=${[
  [t("sys.encoder.for"), (/** @type {any} */ row) => html`<span class="word">${row.modality}</span>`, "h"],
  [t("sys.encoder"), (/** @type {any} */ row) => `${row.id} ${row.version}`],
  [t("sys.encoder.dim"), (/** @type {any} */ row) => row.dim, "n"],
  [t("sys.encoder.state"), standing],
]} /></${Card}>`;

function Doctor() {
  const { value, problem, again } = useLoaded(() => get("/v1/system/checks"), []);
  return html`<${Card} title=${t("sys.checks")} name="doctor" tools=${html`<button type="button" onClick=${again}>${t("sys.checks.run")}</button>`}>
    <p class="soft">${t("sys.checks.hint")}</p><${Problem} of=${problem} />
    ${value && html`<${Table} label=${t("sys.checks")} rows=${value.checks} id=${(/** @type {any} */ row) => row.name} columns=${[
      [t("sys.check"), (/** @type {any} */ row) => row.name, "h"],
      [t("sys.state"), (/** @type {any} */ row) => html`<span class=${LEVELS[/** @type {"ok"} */ (row.level)]} data-level=${row.level}>${t(`sys.level.${row.level}`)}</span>`],
      [t("sys.found"), (/** @type {any} */ row) => html`${row.message}${row.remedy && html`<br /><span class="soft">${row.remedy}</span>`}`],
    ]} />`}</${Card}>`;
}

function Settings() {
  const { value, problem } = useLoaded(() => get("/v1/system/settings"), []);
  const [wanted, setWanted] = useState("");
  const [changed, setChanged] = useState(false);
  const rows = (value?.settings ?? []).filter((/** @type {any} */ one) => one.name.includes(wanted.trim().toLowerCase()) && (!changed || one.source !== "default"));
  return html`<${Card} title=${t("sys.settings")} name="settings"><p class="soft">${t("sys.settings.hint")}</p><${Problem} of=${problem} />
    <div class="row"><label class="field"><span>${t("sys.settings.find")}</span><input type="search" value=${wanted} onInput=${(/** @type {any} */ event) => setWanted(event.target.value)} /></label>
      <label class="tick"><input type="checkbox" checked=${changed} onChange=${(/** @type {any} */ event) => setChanged(event.target.checked)} /> ${t("sys.settings.changed")}</label></div>
    ${value && html`<${Table} label=${t("sys.settings")} rows=${rows} id=${(/** @type {any} */ row) => row.name} columns=${[
      [t("sys.setting"), (/** @type {any} */ row) => html`<code>${row.name}</code>`, "h"],
      [t("sys.value"), (/** @type {any} */ row) => html`<code>${typeof row.value === "string" && row.value ? row.value : JSON.stringify(row.value)}</code>`],
      [t("sys.source"), (/** @type {any} */ row) => html`<span class=${row.source === "default" ? "soft" : ""}>${row.source}</span>`, "t"],
    ]} />`}</${Card}>`;
}
