// @ts-check
/** The console: sign-in, frame, and the page of the address. */
import { html, render, useEffect, useState } from "../shop/html.js";
import { admitted, ApiError, get, key, signIn, signOut } from "./api.js";
import { Live } from "./live.js";
import { LANGUAGES, language, speak, t } from "./messages.js";
import { Problem, Title, useLoaded } from "./parts.js";
import { arrive, Link, route, to } from "./router.js";

/** In the order of the menu; a page is fetched when it is first opened. @type {Record<string, () => Promise<any>>} */
const PAGES = {
  live: async () => Live,
  placements: () => import("./placements.js").then((page) => page.Placements),
  experiments: () => import("./experiments.js").then((page) => page.Experiments),
  catalogue: () => import("./catalogue.js").then((page) => page.Catalogue),
  users: () => import("./users.js").then((page) => page.Users),
  models: () => import("./models.js").then((page) => page.Models),
  quality: () => import("./quality.js").then((page) => page.Quality),
  system: () => import("./system.js").then((page) => page.System),
};

const THEME = "endcap.theme";
const dress = (/** @type {string} */ theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem(THEME, theme);
};
const worn = localStorage.getItem(THEME) ?? "";
dress(worn);

/** Whether this server lets us in: an open one does without a key. */
async function knock() {
  try {
    await get("/v1/quarantine", { n: 1 });
    admitted.value = true;
  } catch (problem) {
    if (problem instanceof ApiError && problem.status === 404) admitted.value = true;
    else {
      admitted.value = false;
      if (key.value) throw problem;
    }
  }
}

function Tools() {
  const [theme, setTheme] = useState(worn);
  const change = (/** @type {Event} */ event) => {
    const { value } = /** @type {HTMLSelectElement} */ (event.target);
    setTheme(value);
    dress(value);
  };
  return html`<div class="tools">
    <select aria-label=${t("theme")} value=${theme} onChange=${change}>
      ${["", "light", "dark"].map((name) => html`<option value=${name} key=${name}>${t(`theme.${name || "system"}`)}</option>`)}</select>
    <select aria-label=${t("language")} value=${language.value} onChange=${(/** @type {any} */ event) => speak(event.target.value)}>
      ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} lang=${code} key=${code}>${name}</option>`)}</select>
    ${key.value && admitted.value && html`<button type="button" onClick=${signOut}>${t("signin.out")}</button>`}
  </div>`;
}

function SignIn() {
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const onSubmit = (/** @type {any} */ event) => {
    event.preventDefault();
    signIn(event.target.elements.secret.value);
    setProblem(null);
    knock().catch(setProblem);
  };
  return html`<header class="top"><span class="logo">Endcap</span><${Tools} /></header>
    <main id="content"><form class="card signin" onSubmit=${onSubmit}>
      <${Title}>${t("signin.title")}</${Title}>
      <p class="soft">${t("signin.hint")}</p>
      <label class="field"><span>${t("signin.key")}</span><input name="secret" type="password" autocomplete="off" required /></label>
      <${Problem} of=${problem} />
      <button class="main">${t("signin.in")}</button>
    </form></main>`;
}

function Page({ name }) {
  const { value: Found, problem } = useLoaded(PAGES[name], []);
  useEffect(() => (Found ? arrive() : undefined), [Found]);
  return Found ? html`<${Found} />` : html`<${Problem} of=${problem} />`;
}

function Console() {
  useEffect(() => {
    knock().catch(() => undefined);
  }, []);
  const name = route.value.page in PAGES ? route.value.page : "live";
  document.title = `${t(`page.${name}`)} · Endcap`;
  if (admitted.value === null) return null;
  if (!admitted.value) return html`<${SignIn} />`;
  return html`<a class="skip" href="#content">${t("skip")}</a>
    <header class="top"><span class="logo">Endcap</span>
      <nav aria-label=${t("pages")}><ul>${Object.keys(PAGES).map((page) => html`<li key=${page}><${Link} to=${to(page)} aria-current=${page === name ? "page" : null}>${t(`page.${page}`)}</${Link}></li>`)}</ul></nav>
      <${Tools} />
    </header>
    <main id="content" data-page=${name}><${Page} key=${name} name=${name} /></main>`;
}

render(html`<${Console} />`, /** @type {HTMLElement} */ (document.getElementById("console")));
