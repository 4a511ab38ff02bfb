// @ts-check
/**
 * Every sentence a visitor can read. A language is one table; what a table lacks falls back to English. `{name}` is
 * filled in; `{item}` in a reason becomes a link, so its place in the sentence is the translator's choice.
 */

/** @type {Record<string, Record<string, string>>} */
const MESSAGES = {
  en: {
    "shop.name": "Endcap",
    "shop.kind": "Gifts and homeware",
    "shop.skip": "Skip to the products",
    "shop.note": "A demo shop on real purchases (Online Retail, 2010-2011). Nothing is for sale; the pictures are drawn.",
    "shop.language": "Language",
    "nav.home": "Home",
    "nav.cart": "Cart",
    "nav.cart.count": "Cart, {n} items",
    "nav.departments": "Departments",
    "nav.all": "All of {name}",
    "search.label": "Search products",
    "search.placeholder": "Mugs, lanterns, bunting ...",
    "search.title": "Results for {query}",
    "search.none": "No product matches {query}. Try a single word, such as bag or candle.",
    "search.count": "{n} products",
    "hero.title": "The shelf that follows your eye",
    "hero.cold": "Open anything that catches your eye. The shelf below is rearranged with every click.",
    "hero.warm": "Welcome back. This shelf knows your last {n} clicks.",
    "shelf.for_you": "For you",
    "shelf.for_you.cold": "Popular to start with",
    "shelf.trending": "Trending now",
    "shelf.trending.here": "Trending in {region}",
    "shelf.trending.when": "around {hour}:00, on {device}",
    "shelf.similar": "Similar",
    "shelf.bought": "Bought together",
    "shelf.complete": "Complete your cart",
    "shelf.empty": "Nothing here yet. Look at a few products first.",
    "shelf.updated": "{shelf} updated: {n} of {all} products are new.",
    "shelf.failed": "This shelf could not be loaded: {message}",
    "shelf.back": "Scroll {shelf} back",
    "shelf.on": "Scroll {shelf} on",
    "product.add": "Add to cart",
    "product.added": "Added to your cart",
    "product.more": "Add another",
    "product.gone": "Out of stock",
    "product.missing": "This product is not in the catalogue.",
    "product.category": "Category",
    "product.range": "Range",
    "product.color": "Colour",
    "product.material": "Material",
    "product.pattern": "Pattern",
    "product.code": "Stock code",
    "cart.title": "Your cart",
    "cart.empty": "Your cart is empty.",
    "cart.browse": "Look around",
    "cart.remove": "Remove",
    "cart.remove.item": "Remove {title}",
    "cart.less": "One less of {title}",
    "cart.more": "One more of {title}",
    "cart.total": "Total",
    "cart.checkout": "Buy",
    "cart.thanks": "Thank you. Your order is in the log, and the shelves know it already.",
    "new.badge": "new",
    // reasons: the codes the engine gives
    "why.viewed_together": "Because you looked at {item}",
    "why.next_step": "Often the next step after {item}",
    "why.bought_together": "Often bought with {item}",
    "why.session_like_yours": "From visits like yours, with {item}",
    "why.shoppers_like_you": "Chosen by shoppers with your taste",
    "why.your_history": "You looked at this before",
    "why.in_your_cart": "Waiting in your cart",
    "why.trending": "Trending now",
    "why.trending.value": "Trending in {value}",
    "why.popular_here": "Popular in {value}",
    "why.popular_at_this_hour": "Popular around this hour",
    "why.popular_in_category": "Popular in {value}",
    "why.favourite_category": "You like {value}",
    "why.favourite_brand": "You like the {value} range",
    "why.new": "New in the shop",
    "why.pinned": "Picked by the shop",
    "why.promoted": "Promoted by the shop",
    "why.similar_to": "Similar to {item}",
    "why.friends_in_common": "Followed by people you follow",
    "why.matches_query": "Matches {value}",
    "why.means_alike": "Close to what you asked for",
    "why.here.viewed_together": "Often looked at together",
    "why.here.next_step": "Often the next step",
    "why.here.bought_together": "Often bought together",
    "why.here.session_like_yours": "From visits that had both",
    "why.bare.viewed_together": "Like what you looked at",
    "why.bare.next_step": "Often the next step",
    "why.bare.similar_to": "Similar to what you looked at",
    "why.bare.bought_together": "Often bought with yours",
    "why.bare.session_like_yours": "From visits like yours",
    "why.bare.popular_here": "Popular where you are",
    "why.bare.popular_in_category": "Popular in its category",
    "why.bare.favourite_category": "From a category you like",
    "why.bare.favourite_brand": "From a range you like",
    "why.other": "Suggested for you",
    // the panel
    "panel.title": "Behind the counter",
    "panel.intro": "What the engine believes about you, after every click.",
    "panel.open": "Behind the counter",
    "panel.close": "Close",
    "panel.speed": "From click to changed shelf",
    "panel.speed.none": "Open a product to see the time from your click to the changed shelf.",
    "panel.speed.unit": "ms",
    "panel.speed.stored": "stored safely",
    "panel.speed.answered": "new answer",
    "panel.speed.drawn": "drawn",
    "panel.speed.changed": "{n} of {all} products changed",
    "panel.speed.median": "median {ms} ms over {n} clicks",
    "panel.warmth": "How well we know you",
    "panel.warmth.cold": "a stranger",
    "panel.warmth.warm": "a first impression",
    "panel.warmth.hot": "a clear picture",
    "panel.events": "{session} in this visit, {total} in all",
    "panel.categories": "Categories",
    "panel.ranges": "Ranges",
    "panel.items": "On your mind",
    "panel.nothing": "Nothing yet.",
    "panel.recent": "Your last steps",
    "panel.moment": "The moment",
    "panel.moment.hint": "Changes what is trending.",
    "panel.hour": "Hour",
    "panel.region": "Country",
    "panel.device": "Device",
    "panel.forget": "Forget me",
    "panel.forget.hint": "Erases every event of this visitor from the log, then starts a new one.",
    "panel.forgotten": "Forgotten: {n} events are gone.",
    "device.desktop": "desktop",
    "device.mobile": "mobile",
    "device.tablet": "tablet",
    "step.view": "Looked at",
    "step.cart_add": "Put in the cart",
    "step.cart_remove": "Took out of the cart",
    "step.purchase": "Bought",
    "step.search": "Searched for",
    "problem": "The engine did not answer: {message}",
  },
  zh: {
    "shop.name": "Endcap",
    "shop.kind": "礼品与家居",
    "shop.skip": "跳到商品",
    "shop.note": "基于真实购买记录的演示商店（Online Retail，2010-2011）。这里不出售任何东西，图片是绘制的。",
    "shop.language": "语言",
    "nav.home": "首页",
    "nav.cart": "购物车",
    "nav.cart.count": "购物车，{n} 件商品",
    "nav.departments": "分类",
    "nav.all": "全部{name}",
    "search.label": "搜索商品",
    "search.placeholder": "英文词：mug、lantern、bunting ……",
    "search.title": "“{query}”的搜索结果",
    "search.none": "没有商品符合“{query}”。请试一个英文单词，例如 bag 或 candle。",
    "search.count": "{n} 件商品",
    "hero.title": "随您目光而变的货架",
    "hero.cold": "打开任何吸引您的商品，下面的货架会随每次点击重新排列。",
    "hero.warm": "欢迎回来。这个货架记得您最近的 {n} 次点击。",
    "shelf.for_you": "为您推荐",
    "shelf.for_you.cold": "从热门开始",
    "shelf.trending": "正在流行",
    "shelf.trending.here": "{region} 正在流行",
    "shelf.trending.when": "{hour}:00 左右，{device}",
    "shelf.similar": "相似商品",
    "shelf.bought": "一起购买",
    "shelf.complete": "配齐您的购物车",
    "shelf.empty": "这里还没有商品。请先看几件商品。",
    "shelf.updated": "{shelf}已更新：{all} 件商品中有 {n} 件是新的。",
    "shelf.failed": "无法加载这个货架：{message}",
    "shelf.back": "{shelf}向前滚动",
    "shelf.on": "{shelf}向后滚动",
    "product.add": "加入购物车",
    "product.added": "已加入购物车",
    "product.more": "再加一件",
    "product.gone": "缺货",
    "product.missing": "目录中没有这件商品。",
    "product.category": "类别",
    "product.range": "系列",
    "product.color": "颜色",
    "product.material": "材质",
    "product.pattern": "图案",
    "product.code": "货号",
    "cart.title": "您的购物车",
    "cart.empty": "您的购物车是空的。",
    "cart.browse": "随便看看",
    "cart.remove": "移除",
    "cart.remove.item": "移除 {title}",
    "cart.less": "{title} 减少一件",
    "cart.more": "{title} 增加一件",
    "cart.total": "合计",
    "cart.checkout": "购买",
    "cart.thanks": "谢谢。您的订单已写入日志，货架也已经知道了。",
    "new.badge": "新",
    // 推荐理由：引擎给出的代码
    "why.viewed_together": "因为您看过{item}",
    "why.next_step": "看过{item}之后，常接着看它",
    "why.bought_together": "常与{item}一起购买",
    "why.session_like_yours": "来自与您相似的浏览，其中有{item}",
    "why.shoppers_like_you": "与您品味相近的顾客选择了它",
    "why.your_history": "您之前看过",
    "why.in_your_cart": "在您的购物车里",
    "why.trending": "正在流行",
    "why.trending.value": "{value}正在流行",
    "why.popular_here": "{value}的热门",
    "why.popular_at_this_hour": "这个时段的热门",
    "why.popular_in_category": "“{value}”中的热门",
    "why.favourite_category": "您喜欢“{value}”",
    "why.favourite_brand": "您喜欢“{value}”系列",
    "why.new": "新品上架",
    "why.pinned": "店家精选",
    "why.promoted": "店家推荐",
    "why.similar_to": "与{item}相似",
    "why.friends_in_common": "您关注的人也关注了",
    "why.matches_query": "与“{value}”相符",
    "why.means_alike": "与您的搜索意思相近",
    "why.here.viewed_together": "常被一起浏览",
    "why.here.next_step": "常被接着浏览",
    "why.here.bought_together": "常被一起购买",
    "why.here.session_like_yours": "来自同时看过两者的浏览",
    "why.bare.viewed_together": "与您看过的商品类似",
    "why.bare.next_step": "常被接着浏览",
    "why.bare.similar_to": "与您看过的商品相似",
    "why.bare.bought_together": "常与您的商品一起购买",
    "why.bare.session_like_yours": "来自与您相似的浏览",
    "why.bare.popular_here": "您所在地的热门",
    "why.bare.popular_in_category": "同类中的热门",
    "why.bare.favourite_category": "来自您喜欢的类别",
    "why.bare.favourite_brand": "来自您喜欢的系列",
    "why.other": "为您推荐",
    // 面板
    "panel.title": "柜台后面",
    "panel.intro": "每次点击之后，引擎对您的判断。",
    "panel.open": "柜台后面",
    "panel.close": "关闭",
    "panel.speed": "从点击到货架变化",
    "panel.speed.none": "打开一件商品，就能看到从点击到货架变化用了多久。",
    "panel.speed.unit": "毫秒",
    "panel.speed.stored": "安全写入",
    "panel.speed.answered": "新的回答",
    "panel.speed.drawn": "绘制完成",
    "panel.speed.changed": "{all} 件商品中有 {n} 件变了",
    "panel.speed.median": "{n} 次点击的中位数为 {ms} 毫秒",
    "panel.warmth": "我们对您的了解",
    "panel.warmth.cold": "陌生人",
    "panel.warmth.warm": "初步印象",
    "panel.warmth.hot": "清晰的了解",
    "panel.events": "本次访问 {session} 个，共 {total} 个",
    "panel.categories": "类别",
    "panel.ranges": "系列",
    "panel.items": "您正在考虑",
    "panel.nothing": "还没有。",
    "panel.recent": "您最近的行为",
    "panel.moment": "此刻",
    "panel.moment.hint": "改变正在流行的商品。",
    "panel.hour": "时间",
    "panel.region": "国家",
    "panel.device": "设备",
    "panel.forget": "忘记我",
    "panel.forget.hint": "从日志中删除这位访客的每个事件，然后重新开始。",
    "panel.forgotten": "已忘记：{n} 个事件已删除。",
    "device.desktop": "电脑",
    "device.mobile": "手机",
    "device.tablet": "平板",
    "step.view": "看过",
    "step.cart_add": "放入购物车",
    "step.cart_remove": "移出购物车",
    "step.purchase": "购买了",
    "step.search": "搜索了",
    "problem": "引擎没有回答：{message}",
  },
};

/** The languages there are, each in its own words. */
export const LANGUAGES = { en: "English", zh: "简体中文" };

/** What the visitor chose, else what the browser prefers. */
export const language = chosen();
const table = { ...MESSAGES.en, ...MESSAGES[language] };
document.documentElement.lang = language === "zh" ? "zh-CN" : language;

function chosen() {
  let kept = null;
  try {
    kept = localStorage.getItem("endcap.shop.language");
  } catch {
    // no storage: the browser's languages decide
  }
  const wishes = [kept ?? "", ...(navigator.languages ?? [navigator.language ?? ""])].map((wish) => wish.slice(0, 2).toLowerCase());
  return wishes.find((wish) => wish in MESSAGES) ?? "en";
}

/** Speak another language from now on. Every sentence on the page is drawn anew, so the page is. */
export function speak(/** @type {string} */ code) {
  try {
    localStorage.setItem("endcap.shop.language", code);
  } catch {
    return; // no storage: it would be forgotten at once
  }
  location.reload();
}

export const has = (/** @type {string} */ key) => key in table;

/** The sentence with its gaps filled. */
export function t(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  return (table[key] ?? key).replace(/\{(\w+)\}/g, (gap, name) => String(values[name] ?? gap));
}

/** The sentence cut at `{item}`: text before, text after, or null when it names no item. */
export function around(/** @type {string} */ key, /** @type {Record<string, string | number>} */ values = {}) {
  const [before, after] = t(key, values).split("{item}");
  return after === undefined ? null : { before, after };
}

const prices = new Map();
/** Money in the visitor's notation. */
export function money(/** @type {number} */ amount, currency = "GBP") {
  if (!prices.has(currency)) prices.set(currency, new Intl.NumberFormat(document.documentElement.lang, { style: "currency", currency }));
  return prices.get(currency).format(amount);
}
