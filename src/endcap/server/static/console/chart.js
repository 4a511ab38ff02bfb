// @ts-check
/** A line chart over time. It is drawn on a canvas, so it carries a sentence and can be shown as a table. */
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "../shop/html.js";
import { t } from "./messages.js";
import { clock, moment, number, Table } from "./parts.js";

const HEIGHT = 200;
const ink = (/** @type {string} */ name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
};

const above = (/** @type {any} */ _u, /** @type {number} */ _low, /** @type {number} */ high) => [0, Math.max(high * 1.1, 1)];
const around = (/** @type {any} */ _u, /** @type {number} */ low, /** @type {number} */ high) => {
  const room = (high - low) * 0.05 || 1;
  return [Math.min(low, 0) - room, Math.max(high, 0) + room];
};

/**
 * @param {{ label: string, times: number[], lines: { name: string, color: string, values: (number | null)[], thin?: boolean }[], signed?: boolean, dated?: boolean }} props
 * times in epoch s; color is a CSS variable; `signed`: lines are a value, and the low and high end of its range, and 0 is shown; `dated`: over days
 */
export function Chart({ label, times, lines, signed = false, dated = signed }) {
  const [asTable, setAsTable] = useState(false);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const zero = [{ name: "0", color: "--soft", values: times.map(() => 0), thin: true }];
  const drawn = signed ? [lines[1], lines[2], ...zero, lines[0]] : lines; // the range lies under its value
  const data = [times, ...drawn.map((line) => line.values)];
  useEffect(() => {
    if (asTable || !place.current) return undefined;
    const axis = { stroke: ink("--soft"), grid: { stroke: ink("--edge"), width: 1 }, ticks: { stroke: ink("--edge") } };
    const made = new uPlot({
      width: place.current.clientWidth, height: HEIGHT, cursor: { show: false }, legend: { show: false },
      axes: [axis, { ...axis, size: signed ? 72 : 56 }], scales: { y: { range: signed ? around : above } }, bands: signed ? [{ series: [2, 1], fill: ink("--sunk") }] : [],
      series: [{}, ...drawn.map((line) => ({ label: line.name, stroke: ink(line.color), width: line.thin ? 1 : 2, spanGaps: true, ...(line.thin ? { dash: [4, 3], points: { show: false } } : {}) }))],
    }, data, place.current);
    plot.current = made;
    const fit = () => place.current && made.setSize({ width: place.current.clientWidth, height: HEIGHT });
    addEventListener("resize", fit);
    return () => {
      removeEventListener("resize", fit);
      made.destroy();
      plot.current = null;
    };
  }, [asTable]);
  useEffect(() => plot.current?.setData(data), [times]);
  const said = lines.map((line) => signed ? t("chart.signed", { name: line.name, now: number(line.values.at(-1), 4) }) : t("chart.line", { name: line.name, now: number(line.values.at(-1)), most: number(Math.max(0, ...line.values.map((value) => value ?? 0))) })).join(" ");
  const rows = times.map((at, k) => ({ at, k })).reverse();
  return html`<div class="card-head"><p class="soft">${said}</p>
      <button type="button" aria-pressed=${asTable} onClick=${() => setAsTable(!asTable)}>${t("chart.table")}</button></div>
    ${asTable
      ? html`<${Table} label=${label} rows=${rows} columns=${[[t("time"), (/** @type {any} */ row) => (dated ? moment : clock)(row.at * 1000), "t"], ...lines.map((line) => [line.name, (/** @type {any} */ row) => number(line.values[row.k], signed ? 4 : 2), "n"])]} />`
      : html`<div class="chart" role="img" aria-label=${`${label}. ${said}`} ref=${place}></div>`}`;
}
