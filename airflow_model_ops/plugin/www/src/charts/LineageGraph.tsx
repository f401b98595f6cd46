import { Box, chakra, Text, VisuallyHidden } from "@chakra-ui/react";
import { useEffect, useId, useMemo, useRef } from "react";

import type { Schemas } from "../api/client";
import { layoutOf, NODE } from "./graph";
import { kindLook } from "./kinds";
import { token } from "./palette";

/** Room around the graph for outlines and labels, in pixels. */
const AIR = 10;

/** Characters that a node has room for in small print. */
const FITS = 20;

interface Props {
  readonly graph: Schemas["LineageGraph"];
  readonly chosen: string | null;
  readonly onChoose: (id: string) => void;
}

/** A version's lineage as a graph: what it comes from on its left, what it led to on its right. */
export function LineageGraph({ graph, chosen, onChoose }: Props) {
  const prefix = useId().replace(/[^\w-]/g, "");
  const { placed, arrows, width, height } = useMemo(() => layoutOf(graph), [graph]);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const middle = placed.find(({ node }) => node.column === 0);
    if (box.current !== null && middle !== undefined) {
      box.current.scrollLeft = middle.x + AIR + NODE.width / 2 - box.current.clientWidth / 2;
    }
  }, [placed]);
  const isNear = (source: string, target: string) => chosen === null || chosen === source || chosen === target;
  return (
    <Box ref={box} aria-label={`Lineage of ${graph.version}`} overflowX="auto" role="region" tabIndex={0}>
      <Box height={`${height + 2 * AIR}px`} mx="auto" position="relative" width={`${width + 2 * AIR}px`}>
        <svg aria-hidden="true" height={height + 2 * AIR} style={{ fontSize: "11px", position: "absolute" }} width={width + 2 * AIR}>
          <defs>
            <marker id={`${prefix}-tip`} markerHeight="8" markerWidth="8" orient="auto" refX="7" refY="4">
              <path d="M0,0 L8,4 L0,8 z" fill={token("fg.muted")} />
            </marker>
          </defs>
          <g transform={`translate(${AIR},${AIR})`}>
            {arrows.map(({ edge, path, labelX, labelY }) => (
              <g key={`${edge.source} ${edge.target} ${edge.label}`} opacity={isNear(edge.source, edge.target) ? 1 : 0.5}>
                <path d={path} fill="none" markerEnd={`url(#${prefix}-tip)`} stroke={token("fg.muted")} strokeWidth="1.5" />
                <text fill={token("fg")} paintOrder="stroke" stroke={token("bg")} strokeWidth="4" textAnchor="middle" x={labelX} y={labelY - 4}>
                  {edge.label}
                </text>
              </g>
            ))}
          </g>
        </svg>
        {placed.map(({ node, x, y }) => (
          <NodeButton
            key={node.id}
            isChosen={node.id === chosen}
            node={node}
            onChoose={() => {
              onChoose(node.id);
            }}
            x={x + AIR}
            y={y + AIR}
          />
        ))}
      </Box>
    </Box>
  );
}

interface NodeProps {
  readonly node: Schemas["GraphNode"];
  readonly x: number;
  readonly y: number;
  readonly isChosen: boolean;
  readonly onChoose: () => void;
}

function NodeButton({ node, x, y, isChosen, onChoose }: NodeProps) {
  const { sign, words, palette } = kindLook(node.kind);
  return (
    <chakra.button
      _focusVisible={{ outline: "2px solid", outlineColor: "border.inverted", outlineOffset: "2px" }}
      _hover={{ bg: `${palette}.muted` }}
      aria-pressed={isChosen}
      bg={`${palette}.subtle`}
      borderColor={isChosen ? "fg" : `${palette}.emphasized`}
      borderRadius="md"
      borderWidth={node.column === 0 || isChosen ? "2px" : "1px"}
      cursor="pointer"
      height={`${NODE.height}px`}
      left={`${x}px`}
      onClick={onChoose}
      position="absolute"
      px={2}
      textAlign="start"
      title={node.label}
      top={`${y}px`}
      type="button"
      width={`${NODE.width}px`}
    >
      <Text as="span" color={`${palette}.fg`} display="block" fontSize="xs">
        <span aria-hidden="true">{sign}</span> {words}
      </Text>
      <Text as="span" display="block" fontSize={node.label.length > 14 ? "xs" : "sm"} fontWeight={node.column === 0 ? "semibold" : "medium"} truncate>
        {node.label.length <= FITS ? (
          node.label
        ) : (
          <>
            <span aria-hidden="true">{cutInTheMiddle(node.label)}</span>
            <VisuallyHidden>{node.label}</VisuallyHidden>
          </>
        )}
      </Text>
    </chakra.button>
  );
}

/** What tells versions and addresses apart is their end. */
function cutInTheMiddle(label: string): string {
  return `${label.slice(0, 6)}…${label.slice(7 - FITS)}`;
}
