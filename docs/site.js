// What the theme leaves out of reach of a keyboard: wide tables and code can be scrolled, and each bar over code has a name of its own.
const reachable = () => {
  for (const wide of document.querySelectorAll(".md-typeset__scrollwrap, pre > code")) wide.tabIndex = 0;
  document.querySelectorAll(".md-code__nav").forEach((bar, place) => bar.setAttribute("aria-label", `Code ${place + 1}`));
};
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();
