// Looks every two seconds whether something is new, and puts in only the parts that changed: what a person has
// chosen in a form, and where the focus is, stays. Without it the page is read by reloading.
"use strict";
(() => {
  const PERIOD_MS = 2000;
  const fresh = document.getElementById("fresh");
  const lost = document.getElementById("lost");
  let etag = null;
  let lostSince = null;

  const time = () => new Date().toLocaleTimeString([], { hour12: false });

  function offerCopies(root) {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
  }

  function replaceParts(text) {
    const next = new DOMParser().parseFromString(text, "text/html");
    const focused = document.activeElement ? document.activeElement.id : "";
    offerCopies(next);
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = next.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
    }
    const again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  }

  async function look() {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(location.href, { headers, cache: "no-store" });
      if (answer.status === 200) {
        replaceParts(await answer.text());
        etag = answer.headers.get("ETag");
      } else if (answer.status !== 304) {
        throw new Error("HTTP " + answer.status);
      }
      lostSince = null;
      lost.hidden = true;
      fresh.textContent = "as of " + time();
      fresh.hidden = false;
    } catch (error) {
      lostSince = lostSince || time();
      lost.textContent = "The agent has not answered since " + lostSince + ": what is shown below is old.";
      lost.hidden = false;
    }
  }

  async function keepLooking() {
    if (!document.hidden) await look();
    setTimeout(keepLooking, PERIOD_MS);
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

  offerCopies(document);
  if (document.querySelector("[data-live]")) keepLooking();
})();
