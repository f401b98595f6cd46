import type { Schemas } from "../api/client";
import { columnsOf, layoutOf, NODE, relationsOf, untangled } from "./graph";

const node = (id: string, column: number): Schemas["GraphNode"] => ({ id, kind: "data", label: id, detail: {}, column, run: null, model: null });
const edge = (source: string, target: string): Schemas["GraphEdge"] => ({ source, target, label: `${source} to ${target}` });
const ids = (columns: Schemas["GraphNode"][][]) => columns.map((column) => column.map(({ id }) => id).join(""));

test("columns go from upstream to downstream, and an empty one takes no room", () => {
  expect(ids(columnsOf([node("v", 0), node("s", 2), node("d", -3), node("t", 2)]))).toEqual(["d", "v", "st"]);
});

test("nodes move beside what they have arrows with, so that none cross", () => {
  const columns = [[node("a", -1), node("b", -1)], [node("x", 0), node("y", 0)]];
  expect(ids(untangled(columns, [edge("a", "y"), edge("b", "x")]))).toSatisfy((order: string[]) => order.join() === "ab,yx" || order.join() === "ba,xy");
});

test("no two nodes lie upon one another, and all lie within the graph", () => {
  const nodes = [node("d", -1), ...["a", "b", "c"].map((id) => node(id, 0)), node("z", 1)];
  const { placed, width, height } = layoutOf({ nodes, edges: nodes.slice(1, 4).map(({ id }) => edge("d", id)) });
  expect(placed).toHaveLength(nodes.length);
  for (const one of placed) {
    expect(one.x + NODE.width).toBeLessThanOrEqual(width);
    expect(one.y + NODE.height).toBeLessThanOrEqual(height);
    for (const other of placed.filter((place) => place !== one && place.x === one.x)) {
      expect(Math.abs(one.y - other.y)).toBeGreaterThanOrEqual(NODE.height);
    }
  }
});

test("an arrow goes from the right of its source to the left of its target", () => {
  const { arrows } = layoutOf({ nodes: [node("a", 0), node("b", 1)], edges: [edge("a", "b")] });
  expect(arrows[0]?.path).toBe(`M${NODE.width},29 C224,29 224,29 272,29`);
});

test("an arrow to a node that is not shown is left out, and nothing at all is no mistake", () => {
  expect(layoutOf({ nodes: [node("a", 0)], edges: [edge("a", "missing")] }).arrows).toEqual([]);
  expect(layoutOf({ nodes: [], edges: [] }).placed).toEqual([]);
});

test("a node's relations are told from both sides", () => {
  const nodes = [node("a", -1), node("v", 0), node("z", 1)];
  const { from, to } = relationsOf("v", nodes, [edge("a", "v"), edge("v", "z"), edge("a", "z")]);
  expect(from.map(({ other }) => other.id)).toEqual(["a"]);
  expect(to.map(({ label }) => label)).toEqual(["v to z"]);
});
