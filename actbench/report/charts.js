// The loss curves: one uPlot chart a model, with its own legend, reading and zoom.
(() => {
  "use strict";

  const HEIGHT = 380;
  const PAPER = 640; // the width that a printed page has room for
  const FAINT = 0.32; // of a seed's line beside the mean's

  // A resolved colour: custom properties that hold light-dark() are resolved only where they are used.
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  function colour(name) {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  }

  function faint(rgb) {
    return rgb.replace("rgb(", "rgba(").replace(")", `, ${FAINT})`);
  }

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function swatch(number) {
    const made = element("i", { className: "swatch" });
    made.style.setProperty("--c", `var(--v${number})`);
    return made;
  }

  function dot(background) {
    const made = element("div", {});
    Object.assign(made.style, { width: "7px", height: "7px", margin: "-3.5px 0 0 -3.5px", background });
    return made;
  }

  const text = (loss) => (loss == null ? "–" : loss.toFixed(4));

  function count(number) {
    const [unit, name] = [[1e9, " B"], [1e6, " M"], [1, ""]].find(([size]) => number >= size) ?? [1, ""];
    return Number((number / unit).toPrecision(4)).toLocaleString("en") + name;
  }

  class Chart {
    constructor(figure, data) {
      this.figure = figure;
      this.data = data;
      this.kind = "validation";
      this.log = false;
      this.box = figure.querySelector(".plot");
      this.reset = figure.querySelector(".reset");
      this.runs = data.variants.flatMap((variant) => variant.runs);
      this.hidden = new Set();
      this.tip = element("div", { className: "tip", hidden: true });
      this.buildLegend();
      this.listen();
      this.draw();
    }

    // One series a run, then one a variant: the mean of its runs that are shown.
    columns() {
      const lines = this.runs.map((run) => run[this.kind]);
      const steps = [...new Set(lines.flatMap(([x]) => this.data.steps[x]))].sort((a, b) => a - b);
      const place = new Map(steps.map((step, index) => [step, index]));
      const runs = lines.map(([x, losses]) => {
        const column = new Array(steps.length).fill(undefined);
        this.data.steps[x].forEach((step, index) => { column[place.get(step)] = losses[index]; });
        return column;
      });
      return [steps, ...runs, ...this.means(steps, runs)];
    }

    means(steps, columns) {
      const column = new Map(this.runs.map((run, index) => [run, columns[index]]));
      return this.data.variants.map((variant) => {
        const shown = variant.runs.filter((run) => !this.hidden.has(run)).map((run) => column.get(run));
        if (!shown.length) return new Array(steps.length).fill(null);
        return steps.map((_, index) => {
          let sum = 0;
          for (const losses of shown) {
            if (losses[index] == null) return losses[index];
            sum += losses[index];
          }
          return sum / shown.length;
        });
      });
    }

    draw() {
      const [soft, grid] = [colour("soft"), colour("grid")];
      const variants = this.data.variants.map((variant) => colour(`v${variant.colour}`));
      const line = (extra) => ({ points: { show: false }, spanGaps: true, ...extra });
      const seeds = this.data.variants.flatMap((variant, index) => variant.runs.map((run) => line({
        stroke: faint(variants[index]), width: 1, show: !this.hidden.has(run) && variant.runs.length > 1,
      })));
      const means = this.data.variants.map((variant, index) => line({ stroke: variants[index], width: 2.25 }));
      const axis = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      const title = (label) => ({ label, labelSize: 20, labelGap: 0, labelFont: "12px system-ui, sans-serif" });
      const options = {
        width: this.width(), height: HEIGHT,
        legend: { show: false },
        cursor: {
          drag: { x: true, y: false },
          points: { show: (_, series) => series > this.runs.length && dot(variants[series - this.runs.length - 1]) },
        },
        scales: {
          x: { time: false, range: (_, ...ends) => (this.window = ends) },
          y: { distr: this.log ? 3 : 1, log: 10, range: (chart, low, high) => this.range(chart, low, high) },
        },
        axes: [
          { ...axis, ...title("step"), size: 30, values: (_, steps) => steps.map((step) => step.toLocaleString("en")) },
          { ...axis, ...title("loss, nats a token"), size: 50, splits: (chart) => this.ticks(chart), filter: (_, ticks) => ticks,
            values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en", { minimumFractionDigits: this.digits, maximumFractionDigits: this.digits })) },
        ],
        series: [{}, ...seeds, ...means],
        hooks: {
          setCursor: [() => this.read()],
          setScale: [(chart, key) => { if (key === "x") this.reset.disabled = !this.isZoomed(chart); }],
        },
      };
      this.tip.hidden = true;
      this.chart?.destroy();
      this.chart = new uPlot(options, this.columns(), this.box);
      this.chart.over.append(this.tip);
    }

    width() {
      if (document.documentElement.dataset.printing) return PAPER;
      const style = getComputedStyle(this.box);
      return Math.max(200, this.box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    }

    isZoomed(chart) {
      return this.window[0] > chart.data[0][0] || this.window[1] < chart.data[0].at(-1);
    }

    // The whole training is shown without its first fall, which would flatten all differences; a part of it as it is.
    range(chart, low, high) {
      const steps = chart.data[0];
      if (!this.isZoomed(chart)) {
        [low, high] = this.settled(chart, steps) ?? [low, high];
      }
      if (low == null || high == null) return [1, 2];
      const margin = 0.05 * (high - low || 0.1);
      return [Math.max(low - margin, low / 2), high + margin];
    }

    // The lowest and the highest loss of the lines that are shown, after the first fall.
    settled(chart, steps) {
      const first = steps.findIndex((step) => step >= this.data.settled * steps.at(-1));
      let [low, high] = [Infinity, -Infinity];
      chart.data.forEach((losses, index) => {
        if (index === 0 || !chart.series[index].show) return;
        for (const loss of losses.slice(first)) {
          if (loss == null) continue;
          low = Math.min(low, loss);
          high = Math.max(high, loss);
        }
      });
      return low > high ? null : [low, high];
    }

    ticks(chart) {
      const { min, max } = chart.scales.y;
      const rough = (max - min) / 6;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
      const first = Math.ceil(min / step);
      this.digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      return Array.from({ length: Math.floor(max / step) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(10)));
    }

    // The loss at a step, or at the nearest one where that line has a value.
    at(series, index) {
      const losses = this.chart.data[series];
      for (let off = 0; off < losses.length; off += 1) {
        for (const near of [index - off, index + off]) if (losses[near] != null) return losses[near];
      }
      return null;
    }

    // Shows all losses under the cursor: every run's in the legend, the means' beside the cursor, lowest first.
    read() {
      const index = this.chart.cursor.idx;
      const off = index == null || this.chart.cursor.left < 0;
      this.tip.hidden = off;
      this.runs.forEach((run, place) => {
        run.output.textContent = off || this.hidden.has(run) ? "" : text(this.at(1 + place, index));
      });
      const found = this.data.variants.map((variant, place) => {
        const gone = variant.runs.every((run) => this.hidden.has(run));
        const loss = off || gone ? null : this.at(1 + this.runs.length + place, index);
        variant.output.textContent = loss == null ? "" : text(loss);
        return { variant, loss };
      });
      if (!off) this.tell(this.chart.data[0][index], found.filter(({ loss }) => loss != null));
    }

    tell(step, found) {
      found.sort((a, b) => a.loss - b.loss);
      const tokens = count(step * this.data.tokens_per_step);
      this.tip.replaceChildren(
        element("b", {}, `step ${step.toLocaleString("en")} · ${tokens} tokens`),
        ...found.slice(0, 14).map(({ variant, loss }) =>
          element("span", {}, swatch(variant.colour), element("span", {}, variant.label), element("span", {}, text(loss)))),
      );
      const { left, top } = this.chart.cursor;
      const over = this.chart.over;
      const right = left + 16 + this.tip.offsetWidth > over.clientWidth;
      this.tip.style.left = `${Math.max(0, right ? left - 16 - this.tip.offsetWidth : left + 16)}px`;
      this.tip.style.top = `${Math.max(0, Math.min(top - 20, over.clientHeight - this.tip.offsetHeight))}px`;
    }

    buildLegend() {
      const legend = this.figure.querySelector(".legend");
      for (const variant of this.data.variants) {
        variant.output = element("output", {});
        variant.button = this.toggle("whole", variant.runs, swatch(variant.colour), variant.label, variant.output);
        const seeds = element("div", { className: "seeds" });
        for (const run of variant.runs) {
          run.output = element("output", {});
          run.button = this.toggle("seed", [run], `seed ${run.seed} `, run.output);
          run.button.title = run.id;
          if (variant.runs.length > 1) seeds.append(run.button);
        }
        legend.append(element("div", {}, variant.button, seeds));
      }
    }

    // Hides the runs, or shows them if they all are hidden.
    toggle(kind, runs, ...children) {
      const button = element("button", { type: "button", className: kind }, ...children);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const hide = runs.some((run) => !this.hidden.has(run));
        for (const run of runs) hide ? this.hidden.add(run) : this.hidden.delete(run);
        this.show();
      });
      return button;
    }

    show() {
      const [min, max] = this.window;
      const pressed = (button, on) => button.setAttribute("aria-pressed", String(on));
      for (const run of this.runs) pressed(run.button, !this.hidden.has(run));
      for (const variant of this.data.variants) pressed(variant.button, variant.runs.some((run) => !this.hidden.has(run)));
      const zoomed = this.isZoomed(this.chart);
      this.draw();
      if (zoomed) this.chart.setScale("x", { min, max });
    }

    whole() {
      const steps = this.chart.data[0];
      this.chart.setScale("x", { min: steps[0], max: steps.at(-1) });
    }

    choose(name, chosen) {
      for (const button of this.figure.querySelectorAll(`[data-${name}]`)) {
        button.setAttribute("aria-pressed", String(button.dataset[name] === chosen));
      }
      this.show();
    }

    listen() {
      for (const button of this.figure.querySelectorAll("[data-kind]")) {
        button.addEventListener("click", () => { this.kind = button.dataset.kind; this.choose("kind", this.kind); });
      }
      for (const button of this.figure.querySelectorAll("[data-scale]")) {
        button.addEventListener("click", () => { this.log = button.dataset.scale === "log"; this.choose("scale", button.dataset.scale); });
      }
      this.reset.addEventListener("click", () => this.whole());
      this.box.addEventListener("keydown", (event) => this.key(event));
      document.addEventListener("repaint", () => this.show());
      new ResizeObserver(() => {
        if (this.chart.width !== this.width()) this.chart.setSize({ width: this.width(), height: HEIGHT });
      }).observe(this.box);
    }

    key(event) {
      if (event.key === "Escape") this.whole();
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const [first, last] = this.chart.series[0].idxs; // of what is shown
      const index = Math.max(first, Math.min(last, (this.chart.cursor.idx ?? (step > 0 ? first - 1 : last + 1)) + step));
      this.chart.setCursor({ left: this.chart.valToPos(this.chart.data[0][index], "x"), top: 20 });
    }
  }

  const data = JSON.parse(document.getElementById("charts").textContent);
  for (const figure of document.querySelectorAll(".losses")) new Chart(figure, data[Number(figure.dataset.chart)]);
})();
