// What becomes of answers that are errors: only the console's own panels, which say where they
// belong, are shown; a part that refreshes itself keeps what it has and goes on asking.
"use strict";
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr, requestConfig } = event.detail;
  if (xhr.status < 400) return;
  const polled = requestConfig?.elt?.matches("[data-poll]");
  event.detail.shouldSwap = !polled && xhr.getResponseHeader("HX-Retarget") !== null;
});
