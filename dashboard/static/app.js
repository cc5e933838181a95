// What the pages do beyond showing: copy a command, let ages go on, say when the connection is lost.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("live");

  // --- times: the server's clock counts, not this one's
  const stamp = () => document.querySelector("[data-clock]");
  let ahead = 0;
  const learn = () => {
    const found = stamp();
    if (found) ahead = Number(found.dataset.clock) - Date.now();
  };
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const span = (ms) => {
    const seconds = Math.max(0, Math.floor(ms / 1000));
    for (let at = 0; at < units.length; at++) {
      const [size, unit] = units[at];
      if (seconds < size) continue;
      const whole = Math.floor(seconds / size);
      const next = units[at + 1];
      const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
      return `${whole} ${unit}` + (whole < 10 && rest ? ` ${rest} ${next[1]}` : "");
    }
    return "0 s";
  };
  const put = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const tick = () => {
    if (document.hidden || root.classList.contains("lost")) return;
    const now = Date.now() + ahead;
    for (const element of document.querySelectorAll("[data-since]")) put(element, span(now - Number(element.dataset.since)));
    for (const element of document.querySelectorAll("[data-ago]")) {
      const then = Number(element.dataset.ago);
      if (then > now + 1000) put(element, `in ${span(then - now)}`);
      else put(element, now - then < 2000 ? "just now" : `${span(now - then)} ago`);
    }
  };
  learn();
  setInterval(tick, 1000);

  // --- commands to copy
  const copied = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      put(button, "Copied");
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      put(button, "Selected");
    }
    setTimeout(() => put(button, "Copy"), 1500);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copied(button);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches(".filters select")) event.target.form.requestSubmit();
  });

  // --- the connection: silence for longer than two signs of life means that it is lost
  const SILENT = 40000;
  const link = document.getElementById("link");
  let connection = null;
  let heard = Date.now();
  let timer = 0;
  const lost = () => {
    if (root.classList.contains("lost")) return;
    root.classList.add("lost");
    link.hidden = false;
    const asOf = stamp();
    link.textContent = `The connection to the hub is lost. This is as of ${asOf ? asOf.textContent : "before"}; trying again.`;
  };
  const back = () => {
    heard = Date.now();
    clearTimeout(timer);
    root.classList.remove("lost");
    link.hidden = true;
    link.textContent = "";
  };
  document.addEventListener("htmx:sse:after:connection", (event) => {
    connection = event.detail.connection;
    if (connection.status === 200) back();
    else lost();
  });
  document.addEventListener("htmx:sse:before:message", () => back());
  document.addEventListener("htmx:sse:after:message", learn);
  document.addEventListener("htmx:after:swap", learn);
  document.addEventListener("htmx:sse:error", lost);
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (event.detail.connection.attempt > 0 && !document.hidden) {
      clearTimeout(timer);
      timer = setTimeout(lost, 1500);
    }
  });
  document.addEventListener("visibilitychange", () => {
    heard = Date.now();
  });
  const stream = document.getElementById("stream");
  document.addEventListener("htmx:error", lost);
  document.addEventListener("htmx:sse:close", () => {
    connection = null;
  });
  setInterval(() => {
    if (document.hidden) return;
    if (Date.now() - heard > SILENT) {
      lost();
      heard = Date.now();
      if (connection && connection.reader) connection.reader.cancel();
      else if (!connection) htmx.process(stream);
    }
  }, 2000);
})();
