"use strict";
// Takes a new state in place of the old one, without moving the page or taking the focus away.
setInterval(async () => {
  if (document.hidden || getSelection().type === "Range") return;
  const stale = document.getElementById("stale");
  try {
    // Not location.href: it may hold a password.
    const answer = await fetch(location.origin + location.pathname + location.search, {
      signal: AbortSignal.timeout(8000),
    });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [old, now] = [document, page].map((one) => one.getElementById("state"));
    // Screen readers speak when it changes.
    if (old.textContent !== now.textContent) old.replaceChildren(...now.childNodes);
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}, 10000);
