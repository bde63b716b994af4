// Marks in the contents the part that is read, and folds or unfolds all sections.
const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
// Of a section, which may be folded, the place is the box that is always seen.
const placed = (id) => document.getElementById(id).closest(id.startsWith("section-") ? "details" : "*");
const places = [...links].map(([id, link]) => [link, placed(id)]);
const contents = document.querySelector("nav");
let waiting = false;
function mark() {
  waiting = false;
  const shown = places.filter(([, place]) => place.checkVisibility());
  const passed = shown.filter(([, place]) => place.getBoundingClientRect().top < innerHeight / 3);
  const end = scrollY > 0 && scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
  const [now] = (end ? shown : passed).at(-1) ?? [];
  if (now?.hasAttribute("aria-current")) return;
  for (const link of links.values()) link.removeAttribute("aria-current");
  now?.setAttribute("aria-current", "location");
  if (now) contents.scrollTop = now.offsetTop - contents.clientHeight / 2;
}
function soon() {
  if (!waiting) requestAnimationFrame(mark);
  waiting = true;
}
for (const event of ["scroll", "resize", "hashchange"]) addEventListener(event, soon, { passive: true });
const parts = [...document.querySelectorAll("details.part")];
for (const part of parts) part.addEventListener("toggle", soon);
const all = document.getElementById("unfold");
all.hidden = false;
all.addEventListener("click", () => {
  const open = parts.some((part) => !part.open);
  for (const part of parts) part.open = open;
  all.textContent = open ? "Fold all sections" : "Unfold all sections";
});
mark();
