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
  "chart.signed": ["{name}: {now} now.", "{name}：当前 {now}。"],
  "chart.table": ["Show as table", "以表格显示"],
  "signin.title": ["Sign in", "登录"],
  "signin.hint": ["With a key of the kind admin; endcap keys create admin makes one. It is kept until this tab is closed.", "请使用 admin 类型的密钥（endcap keys create admin 可生成）。密钥只保留到此标签页关闭。"],
  "signin.key": ["Admin key", "管理员密钥"],
  "signin.in": ["Sign in", "登录"],
  "signin.out": ["Sign out", "退出"],

  "page.experiments": ["Experiments", "实验"],
  "page.models": ["Models", "模型"],
  "page.system": ["System", "系统"],
  "page.catalogue": ["Catalogue", "商品目录"],
  "page.users": ["Users", "用户"],
  "page.quality": ["Quality", "质量"],

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

  "page.placements": ["Placements", "推荐位"],
  "placements.choose": ["Placement", "推荐位"],
  "placements.strategy": ["Strategy", "策略"],
  "placements.sources": ["Sources", "召回来源"],
  "placements.n": ["Items", "商品数"],
  "placements.ranker": ["Ranker", "排序模型"],
  "placements.filter": ["Filter", "过滤条件"],
  "placements.seen": ["Items seen before", "已看过的商品"],
  "placements.diversity": ["Diversity", "多样性"],
  "placements.caps": ["Caps: category, brand", "上限：类目、品牌"],
  "placements.explore": ["Share tried out", "探索比例"],
  "placements.whole": ["All settings", "全部设置"],
  "placements.slates": ["Lists shown, in memory", "内存中的已展示列表"],
  "placements.immature": ["Of these still open", "其中仍可归因"],
  "arms.title": ["Arms", "策略分支"],
  "arms.none": ["This placement has no arms.", "此推荐位没有策略分支。"],
  "arms.arm": ["Arm", "分支"],
  "arms.slates": ["Lists (faded)", "列表数（衰减）"],
  "arms.reward": ["Reward per list", "每列表收益"],
  "arms.changes": ["What differs", "差异设置"],
  "rules.title": ["Rules", "规则"],
  "rules.name": ["Rule", "规则"],
  "rules.action": ["Action", "动作"],
  "rules.on": ["Acts on", "作用于"],
  "rules.from": ["From", "开始"],
  "rules.until": ["Until", "结束"],
  "rules.state": ["Now", "当前"],
  "rules.active": ["active", "生效中"],
  "rules.resting": ["not active", "未生效"],
  "preview.title": ["Preview", "预览"],
  "preview.hint": ["A list as this shopper would get it now. It is not logged as shown.", "该用户此刻会看到的列表，不会记为曝光。"],
  "preview.user": ["User id", "用户 ID"],
  "preview.anon": ["Anonymous id", "匿名 ID"],
  "preview.items": ["Items on the page, by comma", "页面上的商品（逗号分隔）"],
  "preview.show": ["Show", "查看"],
  "preview.place": ["Place", "位置"],
  "preview.item": ["Item", "商品"],
  "preview.score": ["Score", "得分"],
  "preview.reasons": ["Reasons", "理由"],
  "preview.sources": ["Sources", "来源"],
  "preview.trace": ["Score trace", "得分明细"],
  "preview.term": ["Term", "项"],
  "preview.state": ["Rung {rung}, shopper {warmth}, arm {arm}, offset {offset}", "级别 {rung}，用户 {warmth}，分支 {arm}，日志位置 {offset}"],
  "preview.counts": ["Counts per source and filter", "各来源与过滤的数量"],
  "why.title": ["Why not this item?", "为什么没有这个商品？"],
  "why.item": ["Item id; empty asks why the list is general", "商品 ID；留空则询问列表为何不够个性化"],
  "why.ask": ["Ask", "查询"],
  "reason.viewed_together": ["looked at together", "常被一起浏览"],
  "reason.next_step": ["the next step", "常见的下一步"],
  "reason.bought_together": ["bought together", "常被一起购买"],
  "reason.session_like_yours": ["visits like this one", "相似的访问"],
  "reason.shoppers_like_you": ["shoppers of this taste", "相似用户的选择"],
  "reason.your_history": ["own history", "自己的历史"],
  "reason.in_your_cart": ["in the cart", "在购物车中"],
  "reason.trending": ["trending", "正在流行"],
  "reason.popular_here": ["popular here", "本地热门"],
  "reason.popular_at_this_hour": ["popular at this hour", "此时段热门"],
  "reason.popular_in_category": ["popular in its category", "类目热门"],
  "reason.favourite_category": ["favourite category", "偏好的类目"],
  "reason.favourite_brand": ["favourite brand", "偏好的品牌"],
  "reason.new": ["new", "新品"],
  "reason.pinned": ["pinned by a rule", "由规则固定"],
  "reason.promoted": ["promoted by a rule", "由规则提升"],
  "reason.similar_to": ["similar", "相似"],
  "reason.friends_in_common": ["followed by those they follow", "关注的人也关注"],
  "reason.matches_query": ["matches the query", "匹配搜索词"],
  "reason.means_alike": ["close in meaning", "语义相近"],
};

/** A page that is fetched later brings its own sentences. */
export const say = (/** @type {Record<string, [string, string]>} */ more) => Object.assign(MESSAGES, more);

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

/** A reason of the engine in words; a code that has none as it is. */
export const reason = (/** @type {string} */ code) => (`reason.${code}` in MESSAGES ? t(`reason.${code}`) : code);

/** The sentence with its gaps filled. */
export function t(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  const found = MESSAGES[key]?.[CODES.indexOf(language.value)] ?? key;
  return found.replace(/\{(\w+)\}/g, (gap, name) => String(values[name] ?? gap));
}
