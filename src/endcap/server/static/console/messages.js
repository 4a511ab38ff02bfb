// @ts-check
/**
 * Every sentence of the console, in English and in Simplified Chinese. `{name}` is filled in. What a language lacks falls
 * back to English; a test holds the two tables to the same keys. What the server says (reasons of refusals, remedies) is
 * shown as it came.
 */
import { signal } from "../shop/html.js";

export const LANGUAGES = { en: "English", "zh-CN": "简体中文" };

/** Key -> [English, Chinese]. @type {Record<string, [string, string]>} */
export const MESSAGES = {
  skip: ["Skip to the page", "跳到正文"],
  pages: ["Pages", "页面"],
  theme: ["Colours", "配色"],
  "theme.system": ["As the system", "跟随系统"],
  "theme.light": ["Light", "浅色"],
  "theme.dark": ["Dark", "深色"],
  language: ["Language", "语言"],
  nothing: ["Nothing here.", "暂无内容。"],
  again: ["Refresh", "刷新"],
  time: ["Time", "时间"],
  "sure.yes": ["Yes, do it", "确定"],
  "sure.no": ["No", "取消"],
  "chart.line": ["{name}: {now} now, at most {most}.", "{name}：当前 {now}，最高 {most}。"],
  "chart.table": ["Show as table", "以表格显示"],
  "signin.title": ["Sign in", "登录"],
  "signin.hint": ["With a key of the kind admin; endcap keys create admin makes one. It is kept until this tab is closed.", "请使用 admin 类型的密钥（endcap keys create admin 可生成）。密钥只保留到此标签页关闭。"],
  "signin.key": ["Admin key", "管理员密钥"],
  "signin.in": ["Sign in", "登录"],
  "signin.out": ["Sign out", "退出"],

  "page.live": ["Live", "实时"],
  "live.events": ["Events per second", "事件数/秒"],
  "live.slates": ["Lists per second", "推荐列表数/秒"],
  "live.p50": ["List p50, ms", "列表 p50（毫秒）"],
  "live.p99": ["List p99, ms", "列表 p99（毫秒）"],
  "live.ack99": ["Stored and folded p99, ms", "写入并生效 p99（毫秒）"],
  "live.offset": ["Offset", "日志位置"],
  "live.rates": ["The last minutes", "最近几分钟"],
  "live.tail": ["Newest events", "最新事件"],
  "live.pause": ["Pause", "暂停"],
  "live.left_out": ["{n} events were left out: more arrive than anybody could read.", "已略去 {n} 个事件：到达速度超出可读范围。"],
  "live.kind": ["Kind", "类型"],
  "live.who": ["Who", "用户"],
  "live.what": ["What", "内容"],
  "live.deleted": ["deleted", "已删除"],
  "debug.title": ["Event debugger", "事件调试"],
  "debug.hint": ["Paste an event or a list of events. You see what the engine would take or refuse, and why. Nothing is stored.", "粘贴一个或一组事件，查看引擎会接受还是拒绝及其原因。不会写入任何数据。"],
  "debug.event": ["Event as JSON", "JSON 格式的事件"],
  "debug.browser": ["as if sent with a browser key", "按浏览器密钥的权限检查"],
  "debug.check": ["Check", "检查"],
  "debug.verdict": ["{taken} would be taken, {refused} refused.", "将接受 {taken} 个，拒绝 {refused} 个。"],
  "debug.duplicates": ["Already in the log, would count as duplicates: {ids}", "日志中已存在，将计为重复：{ids}"],
  "debug.new_items": ["Items that nothing has named so far: {ids}", "从未出现过的商品：{ids}"],
  "debug.stored": ["As it would be stored", "将写入的内容"],
  "quarantine.title": ["Refused records", "被拒绝的记录"],
  "quarantine.hint": ["The newest 100 records that were not taken, each with its reason.", "最近 100 条未被接受的记录及其原因。"],
  "quarantine.code": ["Code", "代码"],
  "quarantine.why": ["Why", "原因"],
  "quarantine.raw": ["As sent", "原始内容"],
};

const KEPT = "endcap.language";
const CODES = Object.keys(LANGUAGES);
const wished = localStorage.getItem(KEPT) ?? (navigator.language?.startsWith("zh") ? "zh-CN" : "en");

/** The language spoken now. */
export const language = signal(CODES.includes(wished) ? wished : "en");
document.documentElement.lang = language.value;

export function speak(/** @type {string} */ code) {
  language.value = code;
  document.documentElement.lang = code;
  localStorage.setItem(KEPT, code);
}

/** The sentence with its gaps filled. */
export function t(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  const found = MESSAGES[key]?.[CODES.indexOf(language.value)] ?? key;
  return found.replace(/\{(\w+)\}/g, (gap, name) => String(values[name] ?? gap));
}
