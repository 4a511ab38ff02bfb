// @ts-check
/** The one place that binds htm to Preact; everything else imports from here. */
import { h, render } from "../vendor/preact.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { render };
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/hooks.js";
export { batch, computed, signal } from "../vendor/signals.js";
