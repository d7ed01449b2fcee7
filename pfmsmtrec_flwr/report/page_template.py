"""Jinja template of a report's page. It is a Python file because Flower's bundles carry no file that ends in .html."""

PAGE_TEMPLATE = """\
{% macro data_table(table) %}
<div class="scroll" role="region" aria-label="{{ table.title }}" tabindex="0">
<table>
<caption><span>{{ table.title }}</span></caption>
<thead>
<tr>
<th scope="col" class="head">{{ table.heads[:table.words] | join(", ") }}</th>
{% for column in table.heads[table.words:] %}
<th scope="col">{{ column }}</th>
{% endfor %}
</tr>
</thead>
{% for group in table.groups %}
<tbody>
{% if group.name %}
<tr class="family"><th colspan="{{ 1 + table.heads[table.words:] | length }}" scope="rowgroup"><span>{{ group.name }}</span></th></tr>
{% endif %}
{% for row in group.rows %}
<tr>
<th scope="row" class="head">{{ row[0].text }}{% for head in row[1:table.words] if head.text %} <small>{{ head.text }}</small>{% endfor %}</th>
{% for cell in row[table.words:] %}
<td{% if cell.level is not none %} class="level{{ cell.level }}{{ " best" if cell.best }}"{% endif %}>{{ cell.text }}{% if cell.sd %} <small>±{{ cell.sd }}</small>{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
{% endfor %}
</table>
</div>
{% for note in table.notes %}
<p class="files">{{ note }}.</p>
{% endfor %}
<p class="files">Files: {{ tables }}/{{ table.name }}.{{ forms | join(", .") }}</p>
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>PF-MSMTrec on {{ study.dataset }}</title>
<style>
:root { --ground: #ffffff; --ink: #1b1f24; --quiet: #57606a; --line: #d0d7de; --band: #f3f5f7; --link: #0059a8; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ground: #14181d; --ink: #e6e9ec; --quiet: #a3abb4; --line: #3a424b; --band: #1f252c; --link: #7cc0ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .4rem 0 .8rem; max-width: 48rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: 1rem 0; list-style: none; }
dl { display: grid; grid-template-columns: minmax(5rem, auto) 1fr; gap: .2rem 1rem; margin: 1rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; }
.headlines { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr)); gap: .75rem; padding: 0;
  margin: 1rem 0; list-style: none; }
.headlines li { padding: .75rem 1rem; background: var(--band); border-left: 4px solid #0072b2; }
.headlines strong { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.headlines span { color: var(--quiet); }
.note { padding: .5rem .9rem; background: var(--band); border-left: 4px solid #d55e00; }
.scroll { overflow-x: auto; margin: 1rem 0 .2rem; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; }
caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2rem); }
th, td { padding: .3rem .55rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--quiet); white-space: normal; min-width: 4rem; }
.head { text-align: left; font-weight: 400; }
thead .head { font-weight: 600; }
th.head:first-child { position: sticky; left: 0; background: var(--ground); }
.family th { text-align: left; padding: .5rem .55rem .15rem 0; color: var(--quiet); font-weight: 600; }
.family span { position: sticky; left: 0; }
td small, th small { display: block; font-size: .85em; line-height: 1.1; }
th small { color: var(--quiet); }
.best { font-weight: 700; text-decoration: underline; text-underline-offset: .2em; }
.level0 { background: #f7fbff; color: #111; } .level1 { background: #e6f0f9; color: #111; }
.level2 { background: #d5e5f4; color: #111; } .level3 { background: #bfd8ec; color: #111; }
.level4 { background: #a3cbe3; color: #111; } .level5 { background: #7fb8da; color: #111; }
.level6 { background: #2a75b3; color: #fff; } .level7 { background: #1460a6; color: #fff; }
.level8 { background: #08306b; color: #fff; }
.scale { margin: 0 .4rem; white-space: nowrap; }
.scale i { display: inline-block; width: 1rem; height: .8rem; border: 1px solid var(--line); }
.files { color: var(--quiet); font-size: .8rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1.25rem; margin: 1rem 0;
  align-items: start; }
figure { margin: 0; padding: .6rem; background: #fff; color: #1b1f24; border: 1px solid var(--line); }
figure svg { display: block; width: 100%; max-width: 30rem; height: auto; margin: 0 auto; }
figcaption { margin-top: .5rem; font-size: .82rem; line-height: 1.4; }
figcaption small { display: block; color: #57606a; }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--line); color: var(--quiet); font-size: .85rem; }
@media print {
  @page { margin: 1.5cm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tbody, .headlines li, .note, dl { break-inside: avoid; }
  caption, .family { break-after: avoid; }
  caption span { max-width: none; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .15rem .25rem; }
  thead th { min-width: 0; }
  .pictures { grid-template-columns: 1fr 1fr; }
  td, .scale i { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
</style>
</head>
<body>
<header>
<h1>PF-MSMTrec on {{ study.dataset }}</h1>
<p>{{ study.variants | length }} method{{ "s" if study.variants | length > 1 }} on {{ study.figures.scenarios | length }}
scenario{{ "s" if study.figures.scenarios | length > 1 }} and {{ study.figures.tasks | length }} task{{ "s" if study.figures.tasks | length > 1 }},
{{ run_count }} run{{ "s" if run_count > 1 }}.</p>
<ul class="headlines">
{% for head in headlines %}
<li style="border-color: {{ looks[head.line.variant].colour }}"><span>test AUC of {{ head.task }}, mean over {% if study.figures.untested %}{{ study.figures.scenarios | length }} of {{ study.figures.scenarios | length + study.figures.untested | length }} {% endif %}scenarios</span> <strong>{{ "%.4f" | format(head.auc.mean) }}{% if head.auc.sd is not none %} ± {{ "%.4f" | format(head.auc.sd) }}{% endif %}</strong> {{ head.line.variant }} <span>({{ head.line.model }}); {{ head.margin }}</span>{% if head.above %} <span>{{ head.above }}</span>{% endif %}</li>
{% endfor %}
</ul>
<dl>
<dt>data set</dt><dd>{{ study.dataset }}</dd>
<dt>methods</dt><dd>{{ study.variants | map(attribute="name") | join(", ") }}</dd>
<dt>scenarios</dt><dd>{{ study.figures.scenarios | join(", ") }}</dd>
<dt>tasks</dt><dd>{{ study.figures.tasks | join(", ") }}</dd>
<dt>seeds</dt><dd>{{ study.figures.seeds | join(", ") }}</dd>
<dt>date</dt><dd>{{ study.finished.isoformat() }}, the last run ended</dd>
<dt>versions</dt><dd>{% for package, version in study.versions.items() %}{{ package }} {{ version }}{{ ", " if not loop.last }}{% endfor %}</dd>
</dl>
{% if one_class %}
<p class="note"><strong>n/a:</strong> the test rows of {{ one_class }} are all of one class, over which no AUC is defined.</p>
{% endif %}
{% if not study.same_seeds %}
<p class="note">Not every method was run with every seed: the tables say how many each mean is over.</p>
{% endif %}
{% if study.unfinished %}
<p class="note">Left out, as they have not finished: {{ study.unfinished | join(", ") }}.</p>
{% endif %}
{% for note in study.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
<nav aria-label="Sections">
<ul>
{% for section in sections %}
<li><a href="#{{ section.anchor }}">{{ section.title }}</a></li>
{% endfor %}
</ul>
</nav>
</header>
<main>
{% for section in sections %}
<section id="{{ section.anchor }}">
<h2>{{ section.title }}</h2>
{% if section.text %}
<p>{{ section.text }}</p>
{% endif %}
{% if section.anchor == "auc" %}
<p>worst of the column<span class="scale" aria-hidden="true">{% for level in levels %}<i class="level{{ level }}"></i>{% endfor %}</span>best of the column</p>
{% endif %}
{% if section.pictures %}
<div class="pictures">
{% for picture in section.pictures %}
<figure>
{{ picture.svg }}
<figcaption>{{ picture.caption }} <small>Files: {{ figures }}/{{ picture.name }}.{{ formats | join(", .") }}</small></figcaption>
</figure>
{% endfor %}
</div>
{% endif %}
{% for table in section.tables %}
{{ data_table(table) }}
{% endfor %}
</section>
{% endfor %}
</main>
<footer>Drawn by pfmsmtrec {{ version }} from results.json and metrics.jsonl of each run.</footer>
</body>
</html>
"""
