
"use strict";
(() => {
  const FIRST = 0xe000, ON_SCREEN = 50, ON_PAPER = 2000;
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const texts = data.texts;

  function uuid(packed) {
    if (packed.startsWith("=")) return decodeURIComponent(packed.slice(1));
    const bytes = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const hex = [...bytes].map(letter => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  }
  function unpacked() {
    const columns = data.images, ids = columns.id.split("\n"), own = columns.own.split("\n");
    if (!columns.size.length) return [];
    let before = "";
    return columns.name.split("\n").map((told, at) => {
      const [format, status, visibility, stores, ...answers] = data.patterns[columns.pattern[at]];
      const name = before.slice(0, parseInt(told[0], 36)) + told.slice(1);
      before = name;
      return {
        name, id: uuid(ids[at]), own: own[at].split(" ").filter(Boolean).map(uuid), size: columns.size[at],
        format: texts[format], status: texts[status], visibility: texts[visibility], stores: texts[stores], answers,
      };
    });
  }
  // A text names the ids and sizes of its image by a character for each.
  function told(text, image) {
    const known = [image.id, image.size, ...image.own];
    return text.replace(/[\ue000-\ue0ff]/g, letter => known[letter.charCodeAt(0) - FIRST] ?? letter);
  }
  const wayOf = answer => texts[data.answers[answer][0]];
  const reasonOf = answer => texts[data.answers[answer][1]];
  const againstOf = answer => data.answers[answer].slice(2).map(([rule, text]) => [texts[rule], texts[text]]);

  function element(name, content, attributes = {}) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (Array.isArray(content)) made.append(...content);
    else if (content !== undefined && content !== null) made.append(String(content));
    return made;
  }
  function cell(label, content, kind) {
    return element("td", content, kind ? {"data-label": label, class: kind} : {"data-label": label});
  }
  function bytes(value) {
    if (value === null || value === undefined) return "not known";
    for (const [power, unit] of [[5, "PiB"], [4, "TiB"], [3, "GiB"], [2, "MiB"], [1, "KiB"]])
      if (value >= 1024 ** power) return `${(Math.floor(value * 10 / 1024 ** power) / 10).toFixed(1)} ${unit}`;
    return `${value} B`;
  }
  function compared(one, other) {
    const missing = value => value === null || value === undefined || value === "";
    if (missing(one) || missing(other)) return missing(one) - missing(other);
    return typeof one === "number" && typeof other === "number" ? one - other
      : String(one).localeCompare(String(other), undefined, {numeric: true});
  }
  function options(select, values) {
    for (const value of values) select.append(element("option", value, {value}));
  }

  // A table that is searched, filtered, sorted and paged.
  class Listing {
    constructor(name, noun, rows, {row, key, passes, searched, filters}) {
      Object.assign(this, {noun, rows, row, key, passes, searched, page: 0, length: ON_SCREEN, sorted: null, up: true});
      const part = each => document.getElementById(`${name}-${each}`);
      this.table = part("table");
      this.count = part("count");
      this.pager = part("pager");
      this.search = part("search");
      this.filters = Object.fromEntries(filters.map(each => [each, part(each)]));
      part("controls").addEventListener("submit", event => event.preventDefault());
      for (const input of [this.search, ...Object.values(this.filters)])
        input.addEventListener("input", () => { this.page = 0; this.choose(); });
      for (const heading of this.table.querySelectorAll("th[data-sort]")) {
        const button = element("button", heading.textContent, {type: "button"});
        heading.replaceChildren(button);
        button.addEventListener("click", () => this.sort(heading));
      }
      this.choose();
    }
    sort(heading) {
      const by = heading.dataset.sort;
      this.up = this.sorted === by ? !this.up : true;
      this.sorted = by;
      for (const each of this.table.querySelectorAll("th")) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", this.up ? "ascending" : "descending");
      this.page = 0;
      this.choose();
    }
    choose() {
      const wanted = this.search.value.trim().toLowerCase();
      const chosen = Object.fromEntries(Object.entries(this.filters).map(([name, select]) => [name, select.value]));
      this.shown = this.rows.filter(row => this.passes(row, chosen) && (!wanted || this.searched(row).includes(wanted)));
      if (this.sorted !== null) {
        const keys = new Map(this.shown.map(row => [row, this.key(row, this.sorted, chosen)]));
        this.shown.sort((one, other) => (this.up ? 1 : -1) * compared(keys.get(one), keys.get(other)));
      }
      this.draw();
    }
    amount() {
      const count = this.rows.length;
      return `${count} ${count === 1 ? this.noun.slice(0, -1) : this.noun}`;
    }
    draw() {
      const chosen = Object.fromEntries(Object.entries(this.filters).map(([name, select]) => [name, select.value]));
      const start = this.page * this.length, part = this.shown.slice(start, start + this.length);
      this.table.tBodies[0].replaceChildren(...part.map(row => this.row(row, chosen)));
      this.count.textContent = this.shown.length === this.rows.length ? this.amount()
        : `${this.shown.length} of ${this.amount()}`;
      const pages = Math.ceil(this.shown.length / this.length);
      const step = (text, to, possible) => {
        const button = element("button", text, {type: "button"});
        button.disabled = !possible;
        button.addEventListener("click", () => { this.page = to; this.draw(); });
        return button;
      };
      this.pager.replaceChildren(...(pages < 2 ? [] : [
        step("Previous", this.page - 1, this.page > 0),
        element("span", `Page ${this.page + 1} of ${pages}`),
        step("Next", this.page + 1, this.page + 1 < pages),
      ]));
    }
  }

  function images() {
    const rows = unpacked(), places = data.places;
    const ways = new Set(), rules = new Set();
    data.answers.forEach((_, answer) => {
      ways.add(wayOf(answer));
      for (const [rule] of againstOf(answer)) rules.add(rule);
    });
    const select = name => document.getElementById(`image-${name}`);
    places.forEach((place, number) => select("place").append(element("option", place, {value: number})));
    options(select("way"), [...ways].sort());
    options(select("rule"), [...rules].sort());
    const found = new Map();
    const looked = (image, place) => place === "" ? image.answers : [image.answers[Number(place)]];
    const cloned = answer => data.kinds[wayOf(answer)] === "cloned";
    function passes(image, {place, way, rule}) {
      return !(way || rule) || looked(image, place).some(answer =>
        (!way || wayOf(answer) === way) && (!rule || againstOf(answer).some(([each]) => each === rule)));
    }
    function searched(image) {
      if (!found.has(image)) found.set(image, [image.name, image.id, ...image.own, image.format, image.status,
        image.visibility, image.stores].join("\n").toLowerCase());
      return found.get(image);
    }
    function key(image, by, {place}) {
      if (by !== "way") return image[by];
      return place === "" ? -image.answers.filter(cloned).length : wayOf(looked(image, place)[0]);
    }
    function answered(image, answer, number) {
      const reason = told(reasonOf(answer), image), against = againstOf(answer);
      const parts = [`${places[number]}: `, element("b", wayOf(answer)), reason ? `, ${reason}` : ""];
      if (against.length > 1) parts.push(element("ul", against.map(([rule, text]) =>
        element("li", [element("code", rule), `: ${told(text, image)}`]))));
      return element("div", parts);
    }
    function answers(image, {place}) {
      const all = image.answers.map((answer, number) => [answer, number]);
      const shown = place === "" ? all : [all[Number(place)]];
      if (shown.length === 1) return shown.map(([answer, number]) => answered(image, answer, number));
      const details = element("details");
      const summary = `cloned in ${image.answers.filter(cloned).length} of ${image.answers.length} places`;
      details.append(element("summary", summary));
      details.addEventListener("toggle", () => {
        if (details.open && details.children.length === 1)
          details.append(...shown.map(([answer, number]) => answered(image, answer, number)));
      });
      return [details];
    }
    function row(image, chosen) {
      return element("tr", [
        cell("Name", image.name), cell("ID", [element("code", image.id)]), cell("Format", image.format),
        cell("Size", bytes(image.size), "number"), cell("Stores", image.stores),
        cell("Volume of it", places.length ? answers(image, chosen) : ""),
      ]);
    }
    return new Listing("image", "images", rows, {row, key, passes, searched, filters: ["place", "way", "rule"]});
  }

  function findings() {
    const rows = data.findings, select = name => document.getElementById(`finding-${name}`);
    for (const name of ["rule", "certainty"])
      options(select(name), [...new Set(rows.map(each => each[name]))].sort());
    const subjects = finding => finding.subjects.map(each => element("div", [`${each.kind} `, element("code", each.id)]));
    const repair = finding => finding.command === null ? "A person has to decide."
      : [element("code", finding.command, {class: "command"})];
    return new Listing("finding", "findings", rows, {
      filters: ["rule", "certainty"],
      key: (finding, by) => finding[by],
      passes: (finding, chosen) => ["rule", "certainty"].every(name => !chosen[name] || finding[name] === chosen[name]),
      searched: finding => [finding.id, finding.rule, finding.text, ...finding.subjects.map(each => each.id)]
        .join("\n").toLowerCase(),
      row: finding => element("tr", [
        cell("Rule", [element("code", finding.rule)]), cell("Certainty", finding.certainty),
        cell("Since", finding.since ?? "not known"), cell("Can be reclaimed", bytes(finding.reclaimable_bytes), "number"),
        cell("What was found", [finding.text, ...subjects(finding)]), cell("Repair", repair(finding)),
      ]),
    });
  }

  function theme() {
    const button = document.getElementById("theme"), names = ["system", "light", "dark"];
    let kept = "system";
    try { kept = localStorage.getItem("imagevol-theme") ?? kept; } catch { /* the browser keeps nothing for files */ }
    function show(name) {
      kept = names.includes(name) ? name : "system";
      if (kept === "system") delete root.dataset.theme;
      else root.dataset.theme = kept;
      button.textContent = `Theme: ${kept}`;
      try { localStorage.setItem("imagevol-theme", kept); } catch { /* likewise */ }
    }
    button.addEventListener("click", () => show(names[(names.indexOf(kept) + 1) % names.length]));
    show(kept);
  }

  root.classList.add("with-script");
  theme();
  const listings = [];
  if (document.getElementById("image-table")) listings.push(images());
  if (document.getElementById("finding-table")) listings.push(findings());
  const length = count => () => { for (const each of listings) { each.length = count; each.page = 0; each.draw(); } };
  addEventListener("beforeprint", length(ON_PAPER));
  addEventListener("afterprint", length(ON_SCREEN));
})();
