"use strict";
// Shows the data beside it. Everything from the data enters the page as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [nameA, nameB] = data.conditions;
  const column = new Map(data.statistics.map((name, index) => [name, index]));
  const state = { site: data.sites[0].name, table: 0, value: "estimate", feature: 0 };

  const [beforeSymbol, afterSymbol] = data.effect.around_symbol;
  const VALUES = [
    ["estimate", data.effect.estimate],
    ["size", data.effect.size],
    ["mean_a", `mean ${nameA}`],
    ["mean_b", `mean ${nameB}`],
    ["p_perm_fdr", "p (FDR)"],
    ["verdict", "verdict"],
  ];
  // caption; label whose second part is in italics, names of the texts, what joins them
  const TABLES = [
    ["Size", [
      [["", "M", ` of ${nameA}, ${nameB}`], ["mean_a", "mean_b"], ", "],
      [["", "Mdn", ` of ${nameA}, ${nameB}`], ["median_a", "median_b"], ", "],
      [[`${data.effect.name.replace(/^./, (letter) => letter.toUpperCase())} [95% CI]`], ["estimate", "estimate_ci"], " "],
      [[beforeSymbol, data.effect.symbol, `${afterSymbol} [95% CI]`], ["size", "size_ci"], " "],
      [[`Chance that ${nameA} has more`], ["superiority"]],
      [["Bayes factor BF₁₀"], ["bf10"]],
      [["Mixed model ", "b", " (SE), df"], ["lmm"]],
    ]],
    ["Tests", [
      [["Permutation ", "p"], ["p_perm"]],
      [["… FDR-corrected"], ["p_perm_fdr"]],
      [["… family-wise"], ["p_perm_fwer"]],
      [["Mixed model ", "p"], ["lmm_p"]],
      [["… FDR-corrected"], ["lmm_p_fdr"]],
      [["Equivalence ", "p"], ["p_tost"]],
      [["… FDR-corrected"], ["p_tost_fdr"]],
    ]],
  ];

  const SVG = "http://www.w3.org/2000/svg";
  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "class") node.className = value;
      else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }
  function drawn(tag, attributes, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  const table = () => data.tables[state.table];
  const text = (feature, name) => table().texts[feature][column.get(name)];
  const percent = (share) => `${+(100 * share).toPrecision(3)}%`;
  const several = data.sites.length > 1;
  const called = (feature) => {
    const [site, layer, head] = data.features[feature];
    return `${several ? site + ", " : ""}layer ${layer}, head ${head}`;
  };
  const at = new Map(data.features.map(([site, layer, head], index) => [`${site}\n${layer}\n${head}`, index]));
  const find = (site, layer, head) => at.get(`${site}\n${layer}\n${head}`);
  const signed = (number) => (number > 0 ? "+" : number < 0 ? "−" : "") + short(Math.abs(number));
  const short = (number) => (number === 0 ? "0" : String(+number.toPrecision(2)));
  const pText = (p) => (p.startsWith("<") ? `p ${p}` : `p = ${p}`);

  // ---- colours -------------------------------------------------------------------------------------------
  function limits(name) {
    const all = (key) => table().values[key].filter((number) => number !== null);
    if (name === "mean_a" || name === "mean_b") {
      const both = [...all("mean_a"), ...all("mean_b")];
      return [both.reduce((x, y) => Math.min(x, y), Infinity), both.reduce((x, y) => Math.max(x, y), -Infinity)];
    }
    const most = all(name).reduce((x, y) => Math.max(x, Math.abs(y)), 0);
    return [-most, most];
  }
  const SMALLEST_P = 4; // powers of ten
  function tint(value, name, ends) {
    // class and share of a colour
    if (value === null) return ["none", 0];
    if (name === "estimate" || name === "size") {
      return [value < 0 ? "minus" : "plus", ends[1] > 0 ? Math.abs(value) / ends[1] : 0];
    }
    const share =
      name === "p_perm_fdr"
        ? Math.min(1, -Math.log10(Math.max(value, 10 ** -SMALLEST_P)) / SMALLEST_P)
        : ends[1] > ends[0] ? (value - ends[0]) / (ends[1] - ends[0]) : 0.5;
    return share < 0.5 ? ["lower", share * 2] : ["upper", share * 2 - 1];
  }
  const KINDS = ["plus", "minus", "lower", "upper", "none"];
  function dye(node, kind, share) {
    node.classList.remove(...KINDS);
    if (kind) node.classList.add(kind);
    node.style.setProperty("--t", `${Math.round(100 * share)}%`);
  }
  const paint = (node, value, name, ends) => dye(node, ...tint(value, name, ends));
  function ink(nodes) {
    // All backgrounds are read before any ink is written. At this lightness black and white stand out equally.
    const lightness = nodes.map((node) => /^oklab\(([\d.]+)/.exec(getComputedStyle(node).backgroundColor));
    nodes.forEach((node, index) => {
      node.classList.toggle("light-ink", lightness[index] !== null && +lightness[index][1] < 0.57);
      node.classList.toggle("dark-ink", lightness[index] !== null && +lightness[index][1] >= 0.57);
    });
  }
  function valueOf(feature, name) {
    return name === "verdict" ? table().verdict[feature] : table().values[name][feature];
  }
  const negative = (feature) => table().values.estimate[feature] < 0;
  const different = (feature) => `different: ${negative(feature) ? data.effect.minus : data.effect.plus}`;
  function verdictText(feature) {
    const verdict = table().verdict[feature];
    if (verdict === "negligible") return `${different(feature)}, negligible`;
    return verdict === "different" ? different(feature) : verdict;
  }

  // ---- the map -------------------------------------------------------------------------------------------
  const grid = byId("grid");
  let cells = new Map();
  function buildGrid() {
    const site = data.sites.find((one) => one.name === state.site);
    grid.replaceChildren();
    cells = new Map();
    grid.style.gridTemplateColumns = `auto repeat(${site.heads}, minmax(0, 3.4rem))`;
    grid.style.setProperty("--h", `clamp(13px, calc((100vh - 330px) / ${site.layers.length} - 2px), 44px)`);
    grid.setAttribute("aria-rowcount", site.layers.length + 1);
    grid.setAttribute("aria-colcount", site.heads + 1);
    for (const layer of [...site.layers].reverse()) {
      const label = element("div", { role: "rowheader" }, String(layer));
      const row = element("div", { role: "row" }, label);
      for (let head = 1; head <= site.heads; head++) {
        const feature = find(site.name, layer, head);
        const cell = element("div", { role: "gridcell", class: "cell none", tabindex: "-1" });
        if (feature === undefined) cell.setAttribute("aria-label", `no head ${head} in layer ${layer}`);
        else {
          cell.dataset.feature = feature;
          cells.set(feature, cell);
        }
        row.append(cell);
      }
      grid.append(row);
    }
    const foot = element("div", { role: "row" }, element("div", { role: "columnheader" }, ""));
    for (let head = 1; head <= site.heads; head++) {
      foot.append(element("div", { role: "columnheader" }, String(head)));
    }
    grid.append(foot);
  }
  // three digits after the point leave no room for the zero before it
  const tight = (shown) => shown.replace("< ", "<").replace(/^([+−]?)0\.(?=\d{3})/, "$1.");
  function paintGrid() {
    const name = state.value;
    const ends = name === "verdict" ? null : limits(name);
    const wide = grid.clientWidth / (data.sites.find((one) => one.name === state.site).heads + 1) >= 34;
    for (const [feature, cell] of cells) {
      const verdict = table().verdict[feature];
      const differs = verdict === "different" || verdict === "negligible";
      const value = valueOf(feature, name);
      if (name === "verdict") {
        const more = !negative(feature);
        dye(cell, differs ? (more ? "plus" : "minus") : "", verdict === "different" ? 0.85 : 0.35);
        cell.textContent = differs ? (more ? "▲" : "▼") : verdict === "equivalent" ? "=" : "";
      } else {
        paint(cell, value, name, ends);
        cell.textContent = !wide || value === null ? "" : tight(text(feature, name));
      }
      cell.classList.toggle("different", differs);
      cell.classList.toggle("equivalent", verdict === "equivalent");
      cell.setAttribute(
        "aria-label",
        `${called(feature)}: ${VALUES.find(([key]) => key === name)[1]} ` +
          `${name === "verdict" ? verdictText(feature) : `${text(feature, name)}, ${verdict}`}`,
      );
    }
    ink([...cells.values()]);
    drawScale(name, ends);
    mark();
  }
  function drawScale(name, ends) {
    const scale = byId("scale");
    const ramp = element("div", { class: "ramp" });
    const words = element("div", { class: "ends" });
    scale.replaceChildren(ramp, words);
    let labels;
    if (name === "verdict") {
      ramp.hidden = true;
      labels = [`▲ ${data.effect.plus}`, `▼ ${data.effect.minus}`, "pale: negligible", "= equivalent", "empty: undecided"];
    } else if (name === "p_perm_fdr") {
      for (let step = 0; step <= 40; step++) {
        const box = element("span");
        paint(box, 10 ** ((-SMALLEST_P * step) / 40), name, null);
        ramp.append(box);
      }
      labels = ["1", ".1", ".01", ".001", "≤ .0001"];
    } else {
      for (let step = 0; step <= 40; step++) {
        const box = element("span");
        paint(box, ends[0] + ((ends[1] - ends[0]) * step) / 40, name, ends);
        ramp.append(box);
      }
      labels = name.startsWith("mean")
        ? [short(ends[0]), `mean ${data.measure} ${short(ends[1])}`]
        : [`${signed(ends[0])} ${data.effect.minus}`, "0", `${data.effect.plus} ${signed(ends[1])}`];
    }
    for (const label of labels) words.append(element("span", {}, label));
    scale.setAttribute("aria-label", `Colours: ${labels.join(", ")}`);
  }
  function mark() {
    for (const [feature, cell] of cells) {
      const chosen = feature === state.feature;
      cell.setAttribute("aria-selected", String(chosen));
      cell.tabIndex = chosen ? 0 : -1;
    }
  }

  // ---- distributions -------------------------------------------------------------------------------------
  function histogram(feature, small) {
    if (!table().most_bars) return element("p", {}, "No values of tokens were kept, so there are no distributions.");
    // drawn at the width that it has, so that its letters keep their size
    const width = small ? 320 : Math.max(280, byId("distribution").clientWidth);
    const half = small ? 44 : 84;
    const left = small ? 4 : 38;
    const [a, b] = table().bars[feature];
    const step = table().bar;
    const bars = Math.max(table().most_bars, 1); // one axis for all heads
    const totals = [a, b].map((side) => side.reduce((x, y) => x + y, 0) || 1);
    const most = Math.max(...a.map((n) => n / totals[0]), ...b.map((n) => n / totals[1]), 1e-9);
    const size = (width - left - 4) / bars;
    const middle = half + 16;
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${2 * half + (small ? 34 : 66)}`, role: "img" });
    const medians = table().medians.map((side) => side[feature]);
    svg.setAttribute(
      "aria-label",
      `Distribution of the count over tokens, ${called(feature)}: ${nameA} above, median ${medians[0]}; ` +
        `${nameB} below, median ${medians[1]}`,
    );
    [a, b].forEach((side, index) => {
      side.forEach((n, k) => {
        if (!n) return;
        const height = (n / totals[index] / most) * half;
        const bar = drawn("rect", {
          class: index ? "bar-b" : "bar-a",
          x: (left + k * size + 0.5).toFixed(2),
          y: (index ? middle + 0.5 : middle - 0.5 - height).toFixed(2),
          width: Math.max(0.5, size - 1).toFixed(2),
          height: height.toFixed(2),
        });
        const counts = step === 1 ? `k = ${k + 1}` : `k = ${k * step + 1}–${(k + 1) * step}`;
        bar.append(drawn("title", {}, `${counts}: ${((100 * n) / totals[index]).toFixed(1)}% of the tokens of ` +
          data.conditions[index]));
        svg.append(bar);
      });
      const median = medians[index];
      if (median !== null) {
        const x = left + ((median - 0.5) / step) * size;
        const y = index ? middle : middle - half;
        svg.append(drawn("line", { class: "median", x1: x, x2: x, y1: y, y2: y + half }));
      }
    });
    svg.append(drawn("line", { class: "rule", x1: left, x2: width - 4, y1: middle, y2: middle }));
    const corner = { x: width - 4, "text-anchor": "end" };
    const note = (index) => `${data.conditions[index]}, median ${medians[index] ?? "–"}`;
    svg.append(drawn("text", { ...corner, y: 12 }, note(0)));
    svg.append(drawn("text", { ...corner, y: middle + half + 14 }, note(1)));
    if (!small) {
      svg.append(drawn("text", { class: "quiet", x: 0, y: 26 }, percent(most)));
      svg.append(drawn("text", { class: "quiet", x: 0, y: middle + half }, percent(most)));
      svg.append(drawn("text", { class: "quiet", x: 0, y: middle + 4 }, "0%"));
      const every = Math.max(1, Math.ceil((bars * 22) / (width - left)));
      for (let k = 0; k < bars; k += every) {
        svg.append(
          drawn("text", { class: "quiet", x: left + (k + 0.5) * size, y: middle + half + 30, "text-anchor": "middle" },
            String(k * step + 1)),
        );
      }
      svg.append(
        drawn("text", { class: "quiet", x: (width + left) / 2, y: middle + half + 45, "text-anchor": "middle" },
          `count k: tokens that hold ${percent(table().threshold)} of the attention`),
      );
    }
    return svg;
  }

  // ---- the details of a head -----------------------------------------------------------------------------
  const italic = (symbol) => element("i", {}, symbol);
  function sentence(feature) {
    const t = (name) => text(feature, name);
    const p = (name) => pText(t(name)).slice(1);
    return [
      `${nameA} `, italic("M"), ` = ${t("mean_a")}, ${nameB} `, italic("M"), ` = ${t("mean_b")}, `,
      `${data.effect.name} = ${t("estimate")}, 95% CI ${t("estimate_ci")}, `,
      italic(data.effect.symbol), ` = ${t("size")} ${t("size_ci")}, `,
      italic("p"), element("sub", {}, "FDR"), `${p("p_perm_fdr")}, BF`, element("sub", {}, "10"),
      `${/^[<>]/.test(t("bf10")) ? " " : " = "}${t("bf10")}`,
    ];
  }
  function ranking() {
    const size = table().values.size.map((size) => Math.abs(size ?? 0));
    return size.map((_, index) => index).sort((x, y) => size[y] - size[x] || x - y);
  }
  let order = ranking();

  function drawDistribution() {
    byId("distribution").replaceChildren(histogram(state.feature, false));
  }
  function showHead() {
    const feature = state.feature;
    byId("head-title").textContent = called(feature).replace(/^./, (letter) => letter.toUpperCase());
    const verdict = byId("verdict");
    verdict.textContent = verdictText(feature);
    verdict.className = `verdict ${table().verdict[feature]}`;
    byId("sentence").replaceChildren(...sentence(feature), ".");
    const rank = order.indexOf(feature);
    byId("rank").textContent = `rank ${rank + 1} of ${order.length} by |${data.effect.symbol}|`;
    byId("previous").disabled = rank === 0;
    byId("next").disabled = rank === order.length - 1;
    drawDistribution();
    byId("statistics").replaceChildren(...TABLES.map(([caption, rows]) => {
      const body = element("tbody");
      for (const [label, names, joint] of rows) {
        const parts = label.map((part, index) => (index === 1 ? italic(part) : part));
        body.append(
          element("tr", { "data-statistic": names[0] }, element("th", { scope: "row" }, ...parts),
            element("td", {}, names.map((name) => text(feature, name)).join(joint ?? ""))),
        );
      }
      return element("table", {}, element("caption", {}, caption), body);
    }));
    showExamples(feature);
  }

  // ---- examples ------------------------------------------------------------------------------------------
  async function unpack(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  function cut(bytes, examples) {
    // of each example: levels, largest weight of each row, counts of each row
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let offset = 0;
    return examples.map(([row]) => {
      const sequence = data.sequences[row];
      const keys = (sequence.keys ?? sequence.queries).length;
      const queries = Math.min(data.queries, sequence.queries.length);
      const weights = [];
      const levels = bytes.subarray(offset, offset + queries * keys);
      offset += queries * keys;
      for (let query = 0; query < queries; query++) {
        const largest = view.getUint16(offset + 2 * query, true) / 65535;
        weights.push(Array.from(levels.subarray(query * keys, (query + 1) * keys), (level) => (level / 255) * largest));
      }
      offset += 2 * queries;
      const counts = [];
      for (let query = 0; query < queries; query++) {
        const thresholds = [];
        for (let t = 0; t < data.tables.length; t++) {
          thresholds.push(view.getUint16(offset, true));
          offset += 2;
        }
        counts.push(thresholds);
      }
      return { weights, counts };
    });
  }
  function examplesNote(feature) {
    const less = data.tables[0].values.estimate[feature] < 0;
    const what = data.paired
      ? "The pairs with the largest difference in the direction of this head’s difference"
      : `The sequences of ${nameA} with the ${less ? "lowest" : "highest"} mean ${data.measure} and those of ${nameB} ` +
        `with the ${less ? "highest" : "lowest"}`;
    const how = data.attention === null
      ? ""
      : " The number under a token is its count k. Choose a token to see what it attends to: the stronger the tint, the" +
        " more; the k tokens that make up its count are underlined.";
    const when = data.tables.length > 1 ? ` (chosen at ${percent(data.tables[0].threshold)})` : "";
    const note = data.note === "" ? "" : ` ${data.note}`;
    return `${what}${when}. They are extremes, not typical.${how}${note}`;
  }
  let asked = 0;
  async function showExamples(feature) {
    const ticket = ++asked;
    byId("examples-note").textContent = examplesNote(feature);
    const examples = data.examples[feature];
    let attention = null;
    let trouble = "";
    if (!examples.length) trouble = "The sequences of this head are left out to keep the file small.";
    else if (data.attention !== null) {
      if (!("DecompressionStream" in window)) trouble = "This browser is too old to show the attention.";
      else attention = cut(await unpack(data.attention[feature]), examples);
    }
    if (ticket !== asked) return; // another head was chosen meanwhile
    const box = byId("examples");
    box.replaceChildren(...(trouble ? [element("p", { class: "note" }, trouble)] : []));
    examples.forEach((example, index) => box.append(drawExample(example, attention ? attention[index] : null)));
    box.dataset.feature = feature;
  }
  const of = (number) => (number > 0.995 ? "1.00" : number.toFixed(2).replace(/^0/, ""));

  function tokenRow(labels, target, asButtons) {
    const box = element("div", { class: "tokens" });
    const nodes = [];
    let word = null;
    let last = null;
    labels.forEach(([label, index]) => {
      if (index < 0 || index !== last) {
        word = element("span", { class: "word" });
        box.append(word);
      }
      last = index;
      const node = element(asButtons ? "button" : "span",
        { class: `token${index < 0 ? " special" : ""}${target.includes(index) ? " target" : ""}` },
        element("span", { class: "text" }, label), element("small", {}, ""));
      if (asButtons) {
        node.type = "button";
        node.tabIndex = -1;
        node.setAttribute("aria-pressed", "false");
      }
      word.append(node);
      nodes.push(node);
    });
    return [box, nodes];
  }

  function drawExample([row, means, rank], attention) {
    const sequence = data.sequences[row];
    const mean = means[state.table];
    const name = data.conditions[sequence.condition];
    const average = text(state.feature, sequence.condition ? "mean_b" : "mean_a");
    // the rank is known at the threshold at which the examples were chosen
    const place = state.table === 0 ? `; rank ${rank} of ${data.sizes[sequence.condition]}` : "";
    const title = element("h4", {},
      element("span", { class: `swatch ${sequence.condition ? "of-b" : "of-a"}` }),
      element("b", {}, name), ` · ${sequence.id} · mean ${data.measure} ` +
      `${mean === null ? "–" : mean.toFixed(data.digits)}` +
      ` (all of ${name}: ${average}${place})`);
    const figure = element("figure", { class: "example" }, title);
    const [line, queries] = tokenRow(sequence.queries, sequence.target, attention !== null);
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", `Tokens of ${sequence.id}; left and right choose the one that queries`);
    figure.append(line);
    let keys = queries;
    if (sequence.keys) {
      const [below, nodes] = tokenRow(sequence.keys, [], false);
      below.setAttribute("role", "group");
      below.setAttribute("aria-label", `Keys of ${sequence.id}`);
      figure.append(element("p", { class: "note" }, "attends to"), below);
      keys = nodes;
    }
    if (!attention) return figure;
    const readout = element("p", { class: "readout", "aria-live": "polite" });
    figure.append(readout);
    const { weights, counts } = attention;
    const label = (index) => (sequence.keys ?? sequence.queries)[index][0];
    let fixed = null;

    function rest() {
      for (const node of new Set([...queries, ...keys])) {
        node.classList.remove("inside", "query", "light-ink", "dark-ink");
        node.style.setProperty("--t", "0%");
        node.querySelector("small").textContent = "";
        if (node.hasAttribute("aria-pressed")) node.setAttribute("aria-pressed", "false");
      }
      queries.forEach((node, index) => {
        node.querySelector("small").textContent = index < counts.length ? counts[index][state.table] : "";
      });
      readout.textContent = counts.length < queries.length
        ? `The attention of the first ${counts.length} of ${queries.length} tokens is kept.`
        : "";
    }
    function show(query) {
      if (query >= counts.length) return;
      rest();
      const weight = weights[query];
      const k = counts[query][state.table];
      const ranked = weight.map((_, index) => index).sort((x, y) => weight[y] - weight[x] || x - y);
      const largest = weight[ranked[0]] || 1;
      for (const node of queries) node.querySelector("small").textContent = "";
      keys.forEach((node, index) => {
        node.style.setProperty("--t", `${Math.round((90 * weight[index]) / largest)}%`);
        node.querySelector("small").textContent = of(weight[index]);
      });
      ink(keys);
      for (const index of ranked.slice(0, k)) keys[index].classList.add("inside");
      queries[query].classList.add("query");
      queries[query].setAttribute("aria-pressed", "true");
      const top = ranked.slice(0, 3).map((index) => `${label(index)} ${of(weight[index])}`).join(", ");
      readout.textContent =
        `“${sequence.queries[query][0]}”: k = ${k} of ${keys.length} tokens hold ${percent(table().threshold)}; ` +
        `most on ${top}.`;
    }
    const settle = () => (fixed === null ? rest() : show(fixed));
    queries.forEach((node, index) => {
      node.disabled = index >= counts.length;
      if (index < counts.length) node.setAttribute("aria-label", `${sequence.queries[index][0]}, k = ${counts[index][state.table]}`);
      node.addEventListener("pointerenter", () => show(index));
      node.addEventListener("pointerleave", settle);
      node.addEventListener("focus", () => {
        queries.forEach((one) => (one.tabIndex = -1));
        node.tabIndex = 0;
        fixed = index;
        show(index);
      });
      node.addEventListener("blur", () => {
        fixed = null;
        rest();
      });
    });
    if (queries.length) queries[0].tabIndex = 0;
    line.addEventListener("keydown", (event) => {
      const now = queries.indexOf(document.activeElement);
      const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: counts.length - 1 }[event.key];
      if (now < 0 || next === undefined) return;
      event.preventDefault();
      queries[Math.max(0, Math.min(counts.length - 1, next))].focus();
    });
    rest();
    return figure;
  }

  // ---- choosing ------------------------------------------------------------------------------------------
  function choose(feature, focus) {
    if (feature === undefined) return;
    state.feature = feature;
    const site = data.features[feature][0];
    if (site !== state.site) {
      state.site = site;
      byId("site").value = site;
      buildGrid();
      paintGrid();
    } else mark();
    showHead();
    remember();
    if (focus) cells.get(feature).focus({ preventScroll: false });
  }
  function remember() {
    try {
      history.replaceState(null, "", `#${data.features[state.feature].map(encodeURIComponent).join("/")}`);
    } catch {
      // a page within another one may have no address of its own
    }
  }
  function fromAddress() {
    const named = new URLSearchParams(location.hash.slice(1));
    if (named.has("layer")) {
      // as a report writes it: #layer=5&head=9, with &site=NAME where there are several
      const sites = named.has("site") ? [named.get("site")] : data.sites.map(({ name }) => name);
      const found = sites.map((site) => find(site, named.get("layer"), named.get("head")));
      return found.find((feature) => feature !== undefined);
    }
    const [site, layer, head] = location.hash.slice(1).split("/").map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    });
    return find(site, layer, head);
  }

  grid.addEventListener("keydown", (event) => {
    const [site, layer, head] = data.features[state.feature];
    const size = data.sites.find((one) => one.name === site);
    const row = size.layers.indexOf(layer);
    const steps = {
      ArrowLeft: [layer, head - 1], ArrowRight: [layer, head + 1],
      ArrowUp: [size.layers[row + 1], head], ArrowDown: [size.layers[row - 1], head],
      Home: [event.ctrlKey ? size.layers.at(-1) : layer, 1], End: [event.ctrlKey ? size.layers[0] : layer, size.heads],
    };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      byId("detail").focus();
      byId("detail").scrollIntoView({ block: "nearest" });
    } else if (steps[event.key]) {
      event.preventDefault();
      choose(find(site, ...steps[event.key]), true);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    byId("glance").hidden = true;
    if (byId("detail").contains(document.activeElement)) cells.get(state.feature).focus();
  });
  const cellAt = (event) => {
    const cell = event.target.closest?.("[data-feature]");
    return cell && grid.contains(cell) ? cell : null;
  };
  grid.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell) choose(+cell.dataset.feature, true);
  });

  const glance = byId("glance");
  grid.addEventListener("pointerover", (event) => {
    const cell = cellAt(event);
    if (!cell || event.pointerType === "touch") {
      glance.hidden = true;
      return;
    }
    const feature = +cell.dataset.feature;
    glance.replaceChildren(
      element("b", {}, called(feature)),
      element("p", {}, verdictText(feature)),
      histogram(feature, true),
      element("p", {}, ...sentence(feature)),
    );
    glance.hidden = false;
    const box = cell.getBoundingClientRect();
    const size = glance.getBoundingClientRect();
    const right = box.right + 12 + size.width < innerWidth;
    glance.style.left = `${Math.max(4, right ? box.right + 12 : box.left - 12 - size.width)}px`;
    glance.style.top = `${Math.max(4, Math.min(box.top - 20, innerHeight - size.height - 8))}px`;
  });
  grid.addEventListener("pointerleave", () => (glance.hidden = true));

  byId("previous").addEventListener("click", () => choose(order[order.indexOf(state.feature) - 1]));
  byId("next").addEventListener("click", () => choose(order[order.indexOf(state.feature) + 1]));

  // ---- controls ------------------------------------------------------------------------------------------
  function summary() {
    const counts = { different: 0, negligible: 0, equivalent: 0, undecided: 0 };
    for (const verdict of table().verdict) counts[verdict]++;
    byId("summary").textContent =
      `${table().verdict.length} heads, ${data.n[0]} ${data.unit}s of ${nameA} against ${data.n[1]} of ${nameB}: ` +
      `${counts.different} different at a false discovery rate of ${percent(data.alpha)}, ` +
      `${counts.negligible} negligibly so, ${counts.equivalent} equivalent, ${counts.undecided} undecided.`;
  }
  function fill(select, options, change) {
    for (const [value, label] of options) select.append(element("option", { value }, label));
    select.addEventListener("change", () => change(select.value));
  }
  fill(byId("site"), data.sites.map(({ name }) => [name, name]), (value) => {
    choose(order.find((feature) => data.features[feature][0] === value));
  });
  byId("site-box").hidden = !several;
  fill(byId("threshold"), data.tables.map(({ threshold }, index) => [index, percent(threshold)]), (value) => {
    state.table = +value;
    order = ranking();
    summary();
    paintGrid();
    showHead();
  });
  byId("threshold-box").hidden = data.tables.length === 1;
  fill(byId("value"), VALUES, (value) => {
    state.value = value;
    paintGrid();
  });
  function fit() {
    paintGrid();
    drawDistribution();
    // a map higher than the window sticks by its lower edge
    const map = document.querySelector(".map");
    map.style.top = `${Math.min(8, innerHeight - map.offsetHeight - 8)}px`;
  }
  addEventListener("resize", fit);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintGrid);
  addEventListener("hashchange", () => choose(fromAddress()));

  state.feature = fromAddress() ?? order[0];
  state.site = data.features[state.feature][0];
  byId("site").value = state.site;
  if (data.measure !== "count") byId("of-counts").textContent = ` The tests compare the ${data.measure}, not the count.`;
  summary();
  buildGrid();
  showHead();
  fit();
})();
