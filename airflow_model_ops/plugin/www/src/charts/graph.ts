import type { Schemas } from "../api/client";

type Node = Schemas["GraphNode"];
type Edge = Schemas["GraphEdge"];

export interface Placed {
  readonly node: Node;
  readonly x: number;
  readonly y: number;
}

export interface Arrow {
  readonly edge: Edge;
  /** SVG path from the right of the source to the left of the target. */
  readonly path: string;
  readonly labelX: number;
  readonly labelY: number;
}

export interface Layout {
  readonly placed: readonly Placed[];
  readonly arrows: readonly Arrow[];
  readonly width: number;
  readonly height: number;
}

/** Of a node, in pixels. */
export const NODE = { width: 176, height: 58 } as const;
const GAP = { x: 96, y: 22 } as const;
const SWEEPS = 4;

/** The nodes by column, from the left; columns that are empty take no room. */
export function columnsOf(nodes: readonly Node[]): Node[][] {
  const numbers = [...new Set(nodes.map(({ column }) => column))].sort((a, b) => a - b);
  return numbers.map((number) => nodes.filter(({ column }) => column === number));
}

/**
 * The columns with each node near the middle of those it has arrows with, so that few arrows cross: one column after the other is
 * sorted by its neighbours' places, to the right and back, a few times. Equal ones keep their order.
 */
export function untangled(columns: readonly (readonly Node[])[], edges: readonly Edge[]): Node[][] {
  const sorted = columns.map((column) => [...column]);
  const places = new Map<string, number>();
  const note = (column: readonly Node[]) => {
    column.forEach(({ id }, index) => places.set(id, (index + 0.5) / column.length));
  };
  const middle = ({ id }: Node): number => {
    const others = edges.flatMap(({ source, target }) => (source === id ? [target] : target === id ? [source] : []));
    const known = others.map((other) => places.get(other)).filter((place) => place !== undefined);
    return known.length === 0 ? (places.get(id) ?? 0) : known.reduce((sum, place) => sum + place, 0) / known.length;
  };
  sorted.forEach(note);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const column of sweep % 2 === 0 ? sorted : [...sorted].reverse()) {
      const wished = new Map(column.map((node) => [node.id, middle(node)]));
      column.sort((a, b) => (wished.get(a.id) ?? 0) - (wished.get(b.id) ?? 0));
      note(column);
    }
  }
  return sorted;
}

/** Where everything of a lineage graph is drawn: columns left to right, each centred on the tallest. */
export function layoutOf({ nodes, edges }: { nodes: readonly Node[]; edges: readonly Edge[] }): Layout {
  const columns = untangled(columnsOf(nodes), edges);
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const height = tallest * NODE.height + (tallest - 1) * GAP.y;
  const placed = columns.flatMap((column, index) => {
    const used = column.length * NODE.height + (column.length - 1) * GAP.y;
    const top = (height - used) / 2;
    return column.map((node, row) => ({
      node,
      x: index * (NODE.width + GAP.x),
      y: top + row * (NODE.height + GAP.y),
    }));
  });
  const at = new Map(placed.map((place) => [place.node.id, place]));
  return {
    placed,
    arrows: edges.flatMap((edge) => {
      const from = at.get(edge.source);
      const to = at.get(edge.target);
      return from && to ? [arrow(edge, from, to)] : [];
    }),
    width: Math.max(1, columns.length) * NODE.width + Math.max(0, columns.length - 1) * GAP.x,
    height,
  };
}

function arrow(edge: Edge, from: Placed, to: Placed): Arrow {
  const forward = to.x > from.x;
  const startX = from.x + (forward ? NODE.width : to.x < from.x ? 0 : NODE.width / 2);
  const endX = to.x + (forward ? 0 : to.x < from.x ? NODE.width : NODE.width / 2);
  const below = to.y > from.y;
  const upright = startX === endX;
  const startY = from.y + (upright ? (below ? NODE.height : 0) : NODE.height / 2);
  const endY = to.y + (upright ? (below ? 0 : NODE.height) : NODE.height / 2);
  const middle = (startX + endX) / 2;
  const path = upright ? `M${startX},${startY} V${endY}` : `M${startX},${startY} C${middle},${startY} ${middle},${endY} ${endX},${endY}`;
  return { edge, path, labelX: middle, labelY: (startY + endY) / 2 };
}

export interface Relation {
  readonly label: string;
  readonly other: Node;
}

/** What leads to a node, and what it leads to. */
export function relationsOf(id: string, nodes: readonly Node[], edges: readonly Edge[]): { from: Relation[]; to: Relation[] } {
  const named = new Map(nodes.map((node) => [node.id, node]));
  const relations = (ours: "source" | "target", theirs: "source" | "target") =>
    edges.flatMap((edge) => {
      const other = edge[ours] === id ? named.get(edge[theirs]) : undefined;
      return other ? [{ label: edge.label, other }] : [];
    });
  return { from: relations("target", "source"), to: relations("source", "target") };
}
