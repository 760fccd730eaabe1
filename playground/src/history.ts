// The requests of a model in the last two minutes, as a line.

const SAMPLES = 60;
const WIDTH = 120;
const HEIGHT = 18;
const SVG = "http://www.w3.org/2000/svg";

/** The latest samples. */
export class History {
  private samples: number[] = [];

  add(sample: number): void {
    this.samples = [...this.samples, sample].slice(-SAMPLES);
  }

  /** The line, newest at the right; a step for each sample. */
  drawn(): SVGSVGElement {
    const most = Math.max(4, ...this.samples);
    const step = WIDTH / SAMPLES;
    const left = WIDTH - this.samples.length * step;
    const points = this.samples.map((sample, index) => {
      const height = HEIGHT - 1 - (sample / most) * (HEIGHT - 3);
      return `${index ? "V" : "M" + left + " "}${height.toFixed(1)}H${(left + (index + 1) * step).toFixed(1)}`;
    });
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("width", `${WIDTH}`);
    svg.setAttribute("height", `${HEIGHT}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `At most ${Math.max(0, ...this.samples)} requests at once`);
    svg.append(path(`M0 ${HEIGHT - 0.5}H${WIDTH}`), path(points.join("")));
    return svg;
  }
}

function path(drawn: string): SVGPathElement {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("d", drawn);
  return element;
}
