// @ts-check
/** What pages are made of: cards, tables, fields, notices, and loading something with its failure shown. */
import { html, useEffect, useRef, useState } from "../shop/html.js";
import { language, t } from "./messages.js";

/**
 * Loads again whenever a value of `on` changes. `again()` loads once more; the old value stays until the new one is there.
 * @template T @param {() => Promise<T>} load @param {unknown[]} on
 */
export function useLoaded(load, on) {
  const [turn, setTurn] = useState(0);
  const [found, setFound] = useState(/** @type {{ value?: T, problem?: unknown }} */ ({}));
  useEffect(() => {
    let wanted = true;
    load().then((value) => wanted && setFound({ value }), (problem) => wanted && setFound({ problem }));
    return () => {
      wanted = false;
    };
  }, [turn, ...on]);
  return { ...found, again: () => setTurn((old) => old + 1) };
}

/** A heading that takes the focus after a change of page. */
export const Title = ({ children }) => html`<h1 tabindex="-1">${children}</h1>`;

export const Card = ({ title, tools = null, children, name = undefined }) => html`
  <section class="card" data-card=${name}><div class="card-head"><h2>${title}</h2>${tools}</div>${children}</section>`;

export const Problem = ({ of: problem }) => problem ? html`<p class="notice bad" role="alert">${/** @type {Error} */ (problem).message ?? String(problem)}</p>` : null;

export const Field = ({ label, children }) => html`<label class="field"><span>${label}</span>${children}</label>`;

export const Facts = ({ of: facts }) => html`<dl class="facts">${facts.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => html`<dt key=${`t${name}`}>${name}</dt><dd key=${`d${name}`}>${value}</dd>`)}</dl>`;

export const Figures = ({ of: figures }) => html`<dl class="figures">${figures.map(([name, value]) => html`<div class="figure" key=${name}><dt>${name}</dt><dd>${value ?? "–"}</dd></div>`)}</dl>`;

export const Tags = ({ of: tags }) => html`<ul class="tags">${tags.map((tag) => html`<li class="tag" key=${tag}>${tag}</li>`)}</ul>`;

/** A share of 0..1 as a bar; the number stands beside it, so the bar is only for the eye. */
export const Bar = ({ share }) => html`<span class="bar" aria-hidden="true"><i style=${{ width: `${Math.max(0, Math.min(1, share)) * 100}%` }}></i></span>`;

/**
 * A table that scrolls in its own frame and can be reached with the keyboard. A column is [title, cell, kind], where
 * kind "n" is a number, "t" a short text that is not wrapped, "h" the row's heading.
 * @param {{ label: string, columns: [string, (row: any) => unknown, string?][], rows: any[], id?: (row: any, at: number) => unknown }} props
 */
export function Table({ label, columns, rows, id = (_row, place) => place }) {
  if (!rows.length) return html`<p class="soft">${t("nothing")}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
    <thead><tr>${columns.map(([title, , kind = ""]) => html`<th scope="col" class=${kind} key=${title}>${title}</th>`)}</tr></thead>
    <tbody>${rows.map((row, place) => html`<tr key=${id(row, place)}>${columns.map(([title, cell, kind = ""]) =>
      kind === "h" ? html`<th scope="row" key=${title}>${cell(row)}</th>` : html`<td class=${kind} key=${title}>${cell(row)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** Asks before something that cannot be undone. The focus goes to "no", and back to the button. */
export function Sure({ label, question, act, danger = true, name = label }) {
  const [asked, setAsked] = useState(false);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const turns = useRef(0);
  useEffect(() => {
    if (turns.current++) place.current?.focus();
  }, [asked]);
  if (!asked) return html`<button type="button" class=${danger ? "danger" : ""} aria-label=${name} ref=${place} key="ask" onClick=${() => setAsked(true)}>${label}</button>`;
  return html`<span class="row" role="group" aria-label=${question} key="answer"><span>${question}</span>
    <button type="button" class="main" onClick=${() => { setAsked(false); act(); }}>${t("sure.yes")}</button>
    <button type="button" ref=${place} onClick=${() => setAsked(false)}>${t("sure.no")}</button></span>`;
}

export const Json = ({ of: value, label }) => html`<pre tabindex="0" role="region" aria-label=${label}>${JSON.stringify(value, null, 2)}</pre>`;

// ---------------------------------------------------------------- numbers and times

/** A number with at most `digits` decimals; nothing for null. */
export const number = (/** @type {number | null | undefined} */ value, digits = 2) =>
  value === null || value === undefined ? "–" : value.toLocaleString(language.value, { maximumFractionDigits: digits });

/** A score: three significant digits. */
export const score = (/** @type {number} */ value) => value.toLocaleString(language.value, { maximumSignificantDigits: 4 });

/** A moment of epoch ms, to the second. */
export const moment = (/** @type {number | null | undefined} */ ms) => ms ? new Date(ms).toLocaleString(language.value, { dateStyle: "short", timeStyle: "medium" }) : "–";

export const clock = (/** @type {number} */ ms) => new Date(ms).toLocaleTimeString(language.value);

/** Bytes for people. */
export const bytes = (/** @type {number} */ n) => n >= 1e9 ? `${number(n / 1e9, 1)} GB` : n >= 1e6 ? `${number(n / 1e6, 1)} MB` : `${number(n / 1e3, 1)} kB`;
