/** The page's whole style, inline; the policy allows it by its hash. */
export const STYLE = `
:root {
  --ground: #f5f6f8; --card: #fff; --sunk: #f0f1f5; --line: #d9dce3; --text: #181a20; --muted: #5a6070;
  --accent: #3f37b8; --good: #0d6e43; --warn: #875300; --bad: #b3261e;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "Segoe UI Mono", Menlo, Consolas, monospace;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0f1115; --card: #181b21; --sunk: #12141a; --line: #2b303a; --text: #e8eaf0; --muted: #a0a7b6;
    --accent: #bab6ff; --good: #5fd09a; --warn: #f0bd68; --bad: #ff9c93;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--ground); color: var(--text);
  font: 15px / 1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
code, pre { font-family: var(--mono); font-size: 0.9em; overflow-wrap: anywhere; }
a { color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: 0.5rem 1rem; z-index: 1; }
header, .columns { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem; }
header { padding-bottom: 0; }
h1 { margin: 0; font-size: 1.6rem; }
h2 { margin: 2rem 0 0.75rem; font-size: 1.25rem; }
h3, h4 { margin: 0 0 0.5rem; font-size: 1rem; overflow-wrap: anywhere; }
.task { margin: 2rem 0 0.25rem; font-size: 1.1rem; }
p, ul { margin: 0.5rem 0; }
.note { color: var(--muted); font-size: 0.9em; font-weight: normal; }
nav ul { list-style: none; padding: 0; margin: 0.25rem 0 1rem; }
nav a { display: block; padding: 0.2rem 0; text-decoration: none; overflow-wrap: anywhere; }
nav a:hover { text-decoration: underline; }
nav strong { display: block; margin-top: 0.5rem; }
article {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.25rem; margin: 0 0 1rem;
}
article:target { border-color: var(--accent); }
.method {
  display: inline-block; min-width: 4.5em; padding: 0.1em 0.5em; border: 1px solid currentcolor; border-radius: 6px;
  font: 600 0.8em var(--mono); text-align: center;
}
.get { color: var(--good); } .post, .put { color: var(--accent); } .delete { color: var(--bad); } .stream { color: var(--warn); }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--muted); }
pre { background: var(--sunk); border-radius: 8px; padding: 0.75rem 1rem; overflow-x: auto; margin: 0.75rem 0 0; }
pre code, table code { overflow-wrap: normal; }
table code { white-space: nowrap; }
.scroll { overflow-x: auto; margin: 0.75rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1rem 0.35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 500; }
thead th { color: var(--muted); font-size: 0.9em; }
@media (min-width: 60rem) {
  .columns { display: grid; grid-template-columns: 16rem minmax(0, 1fr); gap: 2.5rem; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; padding: 1.5rem 0; }
}
@media print { nav, .skip { display: none; } }
`
