import { Link, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { modelPath } from "../routes";

interface Props {
  readonly version: string;
  /** With a model it is a link to the version's lineage. */
  readonly model?: string;
  /** In small print and on one line, for tables. */
  readonly compact?: boolean;
}

export function VersionName({ version, model, compact = false }: Props) {
  const name = (
    <Text as="span" fontFamily="mono" overflowWrap="anywhere" {...(compact ? { fontSize: "xs", whiteSpace: { lg: "nowrap" } } : { fontSize: "0.95em" })}>
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
