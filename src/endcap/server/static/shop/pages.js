// @ts-check
/** The pages of the shop. Each is a function of the address and the store. */
import { CheckGlyph } from "./glyphs.js";
import { html, useEffect, useState } from "./html.js";
import { followed, go, route, toCart, toDepartment, toHome, toItem } from "./router.js";
import { act, addToCart, buy, cart, catalogueSize, departments, ensure, hourNow, items, moment, notice, takeFromCart, view } from "./store.js";
import { Picture } from "./photo.js";
import { Card, open, Shelf } from "./shelf.js";
import { money, t } from "../messages.js";

/** @typedef {import("./api.js").Item} Item */

export const Link = ({ to, children, ...rest }) =>
  html`<a href=${to} onClick=${(/** @type {MouseEvent} */ event) => followed(event) && go(to)} ...${rest}>${children}</a>`;

/** The personal shelf: without what is in the cart already, and without the product that is being looked at. */
const ForYou = ({ row = false, here = "" }) => {
  const known = (view.value?.total_events ?? 0) > 0;
  const exclude = [...cart.value.map((line) => line.id), ...(here ? [here] : [])];
  return html`<${Shelf} name="for_you" title=${t(known ? "shelf.for_you" : "shelf.for_you.cold")} query=${{ placement: "home", n: 12, exclude }} measured row=${row} />`;
};

const Trending = () => {
  const { region, device } = moment.value;
  return html`<${Shelf} name="trending" row title=${t("shelf.trending.here", { region })}
    note=${t("shelf.trending.when", { hour: String(hourNow.value).padStart(2, "0"), device: t(`device.${device}`) })}
    query=${{ placement: "trending", n: 12, personalization: false }} />`;
};

export function Home() {
  const clicks = view.value?.total_events ?? 0;
  return html`
    <div class="hero">
      <h1 tabindex="-1">${t("hero.title")}</h1>
      <p>${clicks ? t("hero.warm", { n: clicks }) : t("hero.cold")}</p>
    </div>
    <${ForYou} />
    <${Trending} />
    <${Departments} />`;
}

function Departments() {
  return html`<section class="shelf" aria-labelledby="departments">
    <header class="shelf-head"><h2 id="departments">${t("nav.departments")}</h2></header>
    <ul class="departments">
      ${departments.value.map(({ name }) => html`<li key=${name}><${Link} to=${toDepartment(name)} class="department">
        <${Picture} key=${name} item=${faceOf(name)} /><span>${name}</span></${Link}></li>`)}
    </ul>
  </section>`;
}

/** Title words of the product whose picture stands for a department. */
/** @type {Record<string, RegExp>} */
const FACES = {
  "Home Decor": /wall clock/i,
  "Kitchen and Dining": /teacup and saucer/i,
  Jewellery: /necklace/i,
  "Stationery and Gift Wrap": /pencils/i,
  "Lighting and Candles": /lantern/i,
  "Bags and Travel": /handbag/i,
  Seasonal: /bauble/i,
  "Toys and Children": /teddy/i,
  Party: /bunting/i,
  Garden: /watering can/i,
  "Bath and Comfort": /hot water bottle/i,
};

function faceOf(/** @type {string} */ department) {
  const own = [...items.values()].filter((item) => item.categories?.[0]?.[0] === department);
  const plain = own.filter((item) => ["red", "pink", "blue", "green"].includes(item.color ?? "") && item.attributes?.motif !== "skull");
  return plain.find((item) => FACES[department]?.test(item.title ?? "")) ?? own.find((item) => FACES[department]?.test(item.title ?? "")) ?? own[0];
}

export function Department() {
  const { id: name, leaf } = route.value;
  const leaves = departments.value.find((department) => department.name === name)?.leaves ?? [];
  const path = leaf ? [name, leaf] : [name];
  return html`
    <nav class="crumbs" aria-label=${t("nav.departments")}><${Link} to=${toHome()}>${t("nav.home")}</${Link}> <span aria-hidden="true">/</span> ${name}</nav>
    <h1 tabindex="-1" class="page-title">${leaf || name}</h1>
    <ul class="chips">
      <li><${Link} to=${toDepartment(name)} class=${leaf ? "chip" : "chip is-on"}>${t("nav.all", { name })}</${Link}></li>
      ${leaves.map((other) => html`<li key=${other}><${Link} to=${toDepartment(name, other)} class=${other === leaf ? "chip is-on" : "chip"}>${other}</${Link}></li>`)}
    </ul>
    <${Shelf} key=${path.join("/")} name="department" title=${t("shelf.for_you")} query=${{ placement: "home", n: 24, filter: { prefix: { categories: path } } }} />
    <${ForYou} row />`;
}

export function Product() {
  const { id } = route.value;
  const [ready, setReady] = useState(items.has(id) ? id : "");
  useEffect(() => {
    ensure([id]).then(() => setReady(id));
  }, [id]);
  const item = items.get(id);
  if (!item) return ready === id ? html`<h1 tabindex="-1" class="page-title">${t("product.missing")}</h1>` : html`<div class="product is-empty"><span class="picture"></span></div>`;
  return html`<${Details} key=${id} item=${item} />
    <${Shelf} key=${`b${id}`} name="bought" row hideEmpty title=${t("shelf.bought")} page=${id} query=${{ placement: "bought_together", n: 6, items: [id] }} />
    <${Shelf} key=${`s${id}`} name="similar" row hideEmpty title=${t("shelf.similar")} page=${id} query=${{ placement: "similar", n: 12, items: [id] }} />
    <${ForYou} row here=${id} />`;
}

function Details({ item }) {
  const [department, leaf] = item.categories?.[0] ?? [];
  const held = cart.value.find((line) => line.id === item.item_id)?.quantity ?? 0;
  const gone = item.availability === "out_of_stock" || item.availability === "discontinued";
  const facts = [
    ["product.range", item.brand],
    ["product.color", item.color],
    ["product.material", item.material],
    ["product.pattern", item.pattern],
    ["product.code", item.item_id],
  ].filter(([, value]) => value);
  return html`<article class="product">
    <${Picture} item=${item} />
    <div class="product-text">
      ${department && html`<nav class="crumbs" aria-label=${t("product.category")}><${Link} to=${toDepartment(department)}>${department}</${Link}> <span aria-hidden="true">/</span> <${Link} to=${toDepartment(department, leaf)}>${leaf}</${Link}></nav>`}
      <h1 tabindex="-1">${item.title}</h1>
      <p class="price is-large">${money(item.price ?? 0, item.currency)}</p>
      <button type="button" class="buy" disabled=${gone} onClick=${(/** @type {MouseEvent} */ event) => addToCart(item, event.timeStamp)}>
        ${gone ? t("product.gone") : held ? t("product.more") : t("product.add")}
      </button>
      <p class="held" aria-live="polite">${held > 0 && html`<${CheckGlyph} /> ${t("product.added")} <${Link} to=${toCart()}>${t("nav.cart.count", { n: held })}</${Link}>`}</p>
      <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${t(/** @type {string} */ (name))}</dt><dd>${value}</dd></div>`)}</dl>
    </div>
  </article>`;
}

export function Cart() {
  const lines = cart.value;
  const [, setReady] = useState(0);
  useEffect(() => {
    ensure(lines.map((line) => line.id)).then(() => setReady((n) => n + 1));
  }, [lines.length]);
  const total = lines.reduce((sum, line) => sum + line.quantity * (items.get(line.id)?.price ?? 0), 0);
  const checkout = (/** @type {MouseEvent} */ event) => {
    buy(event.timeStamp);
    notice.value = t("cart.thanks");
  };
  return html`<h1 tabindex="-1" class="page-title">${t("cart.title")}</h1>
    ${lines.length
      ? html`<ul class="cart">${lines.map((line) => html`<${CartLine} key=${line.id} line=${line} item=${items.get(line.id)} />`)}</ul>
        <div class="cart-end"><p>${t("cart.total")} <strong class="price">${money(total)}</strong></p>
        <button type="button" class="buy" onClick=${checkout}>${t("cart.checkout")}</button></div>
        <${Shelf} name="complete" row hideEmpty title=${t("shelf.complete")} query=${{ placement: "cart", n: 8, items: lines.map((line) => line.id) }} />`
      : html`<p class="quiet">${t("cart.empty")} <${Link} to=${toHome()}>${t("cart.browse")}</${Link}></p>`}
    <${ForYou} row />`;
}

function CartLine({ line, item }) {
  if (!item) return null;
  const { title } = item;
  return html`<li class="cart-line">
    <a href=${toItem(item.item_id)} class="cart-item" onClick=${(/** @type {MouseEvent} */ event) => open(item.item_id, event)}><${Picture} item=${item} /><span>${title}</span></a>
    <div class="amount">
      <button type="button" class="round" aria-label=${t("cart.less", { title })} onClick=${(/** @type {MouseEvent} */ event) => takeFromCart(line.id, 1, event.timeStamp)}>−</button>
      <span>${line.quantity}</span>
      <button type="button" class="round" aria-label=${t("cart.more", { title })} onClick=${(/** @type {MouseEvent} */ event) => addToCart(item, event.timeStamp)}>+</button>
    </div>
    <span class="price">${money(line.quantity * (item.price ?? 0), item.currency)}</span>
    <button type="button" class="plain" aria-label=${t("cart.remove.item", { title })} onClick=${(/** @type {MouseEvent} */ event) => takeFromCart(line.id, line.quantity, event.timeStamp)}>${t("cart.remove")}</button>
  </li>`;
}

const MOST_RESULTS = 48;

/** Every word of the query begins a word of the title. */
function matching(/** @type {string} */ query) {
  const words = query.toLowerCase().split(/\W+/).filter(Boolean).map((word) => new RegExp(`\\b${word}`));
  if (!words.length) return [];
  return [...items.values()].filter(({ title = "" }) => {
    const low = title.toLowerCase();
    return words.every((word) => word.test(low));
  });
}

export function Search() {
  const { query } = route.value;
  const found = catalogueSize.value ? matching(query) : [];
  useEffect(() => {
    if (!query) return undefined;
    const settledOn = setTimeout(() => act([{ type: "search", query }]), 900); // one event per query, not per keystroke
    return () => clearTimeout(settledOn);
  }, [query]);
  return html`<h1 tabindex="-1" class="page-title">${t("search.title", { query })}</h1>
    <p class="quiet" role="status">${found.length ? t("search.count", { n: found.length }) : t("search.none", { query })}</p>
    <ul class="cards">${found.slice(0, MOST_RESULTS).map((item, position) => html`<${Card} key=${item.item_id} level=${2} placed=${{ item_id: item.item_id, reasons: [] }} origin=${{ placement: "search", position }} />`)}</ul>
    <${ForYou} row />`;
}
