import { Link, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { modelPath } from "../routes";

/** Characters that a name of the usual schemes has at most. A longer one takes several lines: it is its end that tells versions apart. */
const ONE_LINE = 24;
const COMPACT = { fontSize: "xs", whiteSpace: { lg: "nowrap" } } as const;
const TALL = { display: "inline-block", maxW: `${ONE_LINE}ch`, whiteSpace: "normal" } as const;

interface Props {
  readonly version: string;
  /** With a model it is a link to the version's lineage. */
  readonly model?: string;
  /** In small print and, where it is not very long, on one line, for tables. */
  readonly compact?: boolean;
}

export function VersionName({ version, model, compact = false }: Props) {
  const name = (
    <Text as="span" fontFamily="mono" overflowWrap="anywhere" {...(compact ? COMPACT : { fontSize: "0.95em" })} {...(compact && version.length > ONE_LINE && TALL)}>
      {version}
    </Text>
  );
  if (model === undefined) return name;
  return (
    <Link asChild title={`Where ${version} comes from`}>
      <RouterLink to={modelPath(model, "lineage", { version })}>{name}</RouterLink>
    </Link>
  );
}
