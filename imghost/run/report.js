const $ = id => document.getElementById(id), all = (what, where = document) => [...where.querySelectorAll(what)];
const form = document.querySelector(".tools"), list = document.querySelector(".list tbody"), rows = list ? [...list.rows] : [];
const words = $("words"), order = $("order"), heads = all(".list thead th[data-key]"), texts = new Map();
const rank = { failed: 0, unused: 1, local: 2, new: 3, hosted: 4 };
const key = {
  path: row => row.cells[1].firstChild.textContent, state: row => rank[row.dataset.state], until: row => row.dataset.until,
  bytes: row => +row.dataset.bytes, px: row => +row.dataset.px, pages: row => +row.dataset.pages,
};
const kinds = { expiring: "Expiring", alt: "No alt", large: "Large", twin: "Same bytes", metadata: "Metadata" };
let by = "-bytes";

function textOf(row) {
  // Of an image on very many pages the first are listed, and the others stand in an attribute.
  if (!texts.has(row)) texts.set(row, (row.textContent + " " + (row.dataset.also || "")).toLowerCase());
  return texts.get(row);
}
function fits(row, show, wanted) {
  const isShown = !show || row.dataset.state === show || row.dataset.flags.split(" ").includes(show);
  return isShown && wanted.every(word => textOf(row).includes(word));
}
function sized(bytes) {
  if (bytes < 999.5) return bytes + " B";
  if (bytes < 999500) return Math.round(bytes / 1e3) + " kB";
  if (bytes < 999.5e6) return (bytes / 1e6).toFixed(bytes < 99.95e6 ? 1 : 0) + " MB";
  return (bytes / 1e9).toFixed(2) + " GB";
}
function select() {
  const show = form.elements.show.value, wanted = words.value.toLowerCase().split(/\s+/);
  let count = 0, bytes = 0;
  for (const row of rows) {
    const isFit = fits(row, show, wanted);
    if (row.hidden === isFit) row.hidden = !isFit;
    if (isFit) { count += 1; bytes += +row.dataset.bytes; }
  }
  const of = count === rows.length ? "" : count.toLocaleString("en") + " of ";
  $("shown").textContent = of + rows.length.toLocaleString("en") + ", " + sized(bytes);
  $("none").hidden = count > 0;
  const state = new URLSearchParams();
  if (words.value) state.set("q", words.value);
  if (show) state.set("show", show);
  if (by !== "-bytes") state.set("by", by);
  history.replaceState(null, "", state.size ? "#" + state : location.pathname + location.search);
}
function sort(how) {
  by = how;
  const name = how.replace("-", ""), sign = how.startsWith("-") ? -1 : 1, of = key[name];
  const compare = ([a, x], [b, y]) => sign * (a < b ? -1 : a > b ? 1 : 0) || x.dataset.at - y.dataset.at;
  list.append(...rows.map(row => [of(row), row]).sort(compare).map(pair => pair[1]));
  for (const head of heads) {
    if (head.dataset.key === name) head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  if ([...order.options].some(option => option.value === how)) order.value = how;
}
function open(row, isOpen = row.querySelector(".more").hidden !== false) {
  row.querySelector(".more").hidden = isOpen ? false : "until-found";
  row.querySelector("button.open").setAttribute("aria-expanded", isOpen);
  row.classList.toggle("open", isOpen);
}
function button(flag) {
  // A kind that has no button of its own gets one when it is asked for.
  const label = form.elements.show[0].parentNode.cloneNode(true), radio = label.querySelector("input");
  const count = rows.filter(row => fits(row, flag, [""])).length, small = document.createElement("small");
  radio.value = flag;
  radio.checked = false;
  small.textContent = count.toLocaleString("en");
  label.querySelector("span").replaceChildren(kinds[flag] + " ", small);
  document.querySelector(".tools fieldset").append(label);
  return radio;
}
function show(flag, find = "") {
  let radio = all("[name=show]").find(other => other.value === flag);
  if (!radio && !kinds[flag]) return show("", find);
  radio = radio || button(flag);
  radio.checked = true;
  words.value = find;
  select();
}
function go(row) { row.querySelector("button.open").focus(); row.scrollIntoView({ block: "nearest" }); }
function jump(row) { open(row, true); go(row); }
async function copy(button) {
  try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "Copied"; }
  catch { getSelection().selectAllChildren(button.previousElementSibling); }
}
function fallBack(image) {
  // What is hosted may not load here; then the local copy stands in, or an empty frame.
  if (!image.matches?.("img")) return;
  if (image.dataset.local) image.src = image.dataset.local;
  else image.removeAttribute("src");
  delete image.dataset.local;
}

document.addEventListener("error", ({ target }) => fallBack(target), true);
// Errors of images that the browser met before this script ran are found by their state.
for (const image of document.images) if (image.complete && !image.naturalWidth && image.hasAttribute("src")) fallBack(image);

if (list) {
  let waiting;
  form.addEventListener("input", event => {
    if (event.target !== words) return;
    clearTimeout(waiting);
    if (rows.length < 500) select();
    else waiting = setTimeout(select, 100);
  });
  form.addEventListener("change", event => { if (event.target === order) sort(order.value); select(); });
  form.addEventListener("submit", event => { event.preventDefault(); select(); });
  document.querySelector(".list thead").addEventListener("click", event => {
    const head = event.target.closest("button")?.parentNode;
    if (!head) return;
    const name = head.dataset.key, first = ["bytes", "px", "pages"].includes(name) ? "-" + name : name;
    sort(by === first ? (first.startsWith("-") ? name : "-" + name) : first);
    select();
  });
  list.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.classList.contains("copy")) copy(button);
    else open(button.closest("tr"));
  });
  list.addEventListener("beforematch", event => open(event.target.closest("tr"), true));
  document.addEventListener("click", event => {
    const link = event.target.closest("a[data-show], a[data-find], a.jump");
    if (!link) return;
    event.preventDefault();
    if (link.matches(".jump")) { show(""); jump($(link.hash.slice(1))); return; }
    show(link.dataset.show || "", link.dataset.find);
    $("images").scrollIntoView();
    $("images").focus({ preventScroll: true });
  });
  $("all").addEventListener("click", () => { show(""); words.focus(); });
  document.addEventListener("keydown", event => {
    const row = event.target.closest?.(".list tbody tr"), isTyping = event.target === words;
    if (event.key === "Escape") {
      if (row?.classList.contains("open")) { open(row, false); go(row); } else show("");
      return;
    }
    if (!$("keys").checked || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); words.focus(); words.select(); }
    const seen = [...list.rows].filter(other => !other.hidden), at = seen.indexOf(row);
    if (event.key === "j" && seen[at + 1]) go(seen[at + 1]);
    if (event.key === "k" && seen[at - 1]) go(seen[at - 1]);
    if (event.key === "c" && row) {
      const button = row.querySelector("button.copy");
      if (button) { open(row, true); copy(button); }
    }
  });
  form.hidden = false;
  const start = new URLSearchParams(location.hash.slice(1));
  if (key[start.get("by")?.replace("-", "")]) sort(start.get("by"));
  const named = location.hash.startsWith("#i-") && $(location.hash.slice(1));
  if (named) {
    open(named, true);
    addEventListener("load", () => setTimeout(() => go(named))); // after the browser's own jump, which takes the focus
  } else if (start.get("q") || start.get("show")) show(start.get("show") || "", start.get("q") || "");
}
