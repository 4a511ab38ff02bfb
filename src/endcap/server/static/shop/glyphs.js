// @ts-check
/** The few line icons of the interface, 24 x 24, drawn in the colour of the text beside them. */
import { html } from "./html.js";

const line = (/** @type {string} */ d) => () =>
  html`<svg class="glyph" viewBox="0 0 24 24" width="20" height="20" fill="none" stroke="currentColor" stroke-width="1.8"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d=${d} /></svg>`;

export const CartGlyph = line("M3 4h2.500l2.300 11.200a1.500 1.500 0 0 0 1.500 1.200h7.900a1.500 1.500 0 0 0 1.500-1.200L20.500 8H6.300M9.500 20.500h.01M17 20.500h.01");
export const SearchGlyph = line("M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4");
export const BackGlyph = line("M15 5l-7 7 7 7");
export const OnGlyph = line("M9 5l7 7-7 7");
export const PulseGlyph = line("M3 12h4l2.500-7 5 14 2.500-7h4");
export const CloseGlyph = line("M6 6l12 12M18 6L6 18");
export const CheckGlyph = line("M5 12.500l4.500 4.500L19 7.500");
