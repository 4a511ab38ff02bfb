// @ts-check
/** A line chart over time. It is drawn on a canvas, so it carries a sentence and can be shown as a table. */
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "../shop/html.js";
import { t } from "./messages.js";
import { clock, number, Table } from "./parts.js";

const HEIGHT = 200;
const ink = (/** @type {string} */ name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
};

/**
 * @param {{ label: string, times: number[], lines: { name: string, color: string, values: (number | null)[] }[] }} props
 * times in epoch s; color is a CSS variable
 */
export function Chart({ label, times, lines }) {
  const [asTable, setAsTable] = useState(false);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const data = [times, ...lines.map((line) => line.values)];
  useEffect(() => {
    if (asTable || !place.current) return undefined;
    const axis = { stroke: ink("--soft"), grid: { stroke: ink("--edge"), width: 1 }, ticks: { stroke: ink("--edge") } };
    const made = new uPlot({
      width: place.current.clientWidth, height: HEIGHT, cursor: { show: false }, legend: { show: false },
      axes: [axis, { ...axis, size: 56 }], scales: { y: { range: (/** @type {any} */ _u, /** @type {number} */ _low, /** @type {number} */ high) => [0, Math.max(high * 1.1, 1)] } },
      series: [{}, ...lines.map((line) => ({ label: line.name, stroke: ink(line.color), width: 2, spanGaps: true }))],
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
  const said = lines.map((line) => t("chart.line", { name: line.name, now: number(line.values.at(-1)), most: number(Math.max(0, ...line.values.map((value) => value ?? 0))) })).join(" ");
  const rows = times.map((at, k) => ({ at, k })).reverse();
  return html`<div class="card-head"><p class="soft">${said}</p>
      <button type="button" aria-pressed=${asTable} onClick=${() => setAsTable(!asTable)}>${t("chart.table")}</button></div>
    ${asTable
      ? html`<${Table} label=${label} rows=${rows} columns=${[[t("time"), (/** @type {any} */ row) => clock(row.at * 1000), "t"], ...lines.map((line) => [line.name, (/** @type {any} */ row) => number(line.values[row.k]), "n"])]} />`
      : html`<div class="chart" role="img" aria-label=${`${label}. ${said}`} ref=${place}></div>`}`;
}
