"use strict";
// Takes a new state in place of the old one, without moving the page or taking the focus away.
setInterval(async () => {
  if (document.hidden || getSelection().type === "Range") return;
  const stale = document.getElementById("stale");
  try {
    // Not location.href: it may hold a password.
    const answer = await fetch(location.origin + location.pathname + location.search, {
      signal: AbortSignal.timeout(4000),
    });
    if (!answer.ok) throw answer.status;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    // Screen readers speak when the state changes, and not at each refresh.
    if (document.title !== page.title) {
      document.getElementById("spoken").textContent = document.title = page.title;
    }
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}, 5000);
