import { Link, Text } from "@chakra-ui/react";
import { Link as RouterLink } from "react-router-dom";

import { modelPath } from "../routes";

interface Props {
  readonly version: string;
  /** With a model it is a link to the version's lineage. */
  readonly model?: string;
}

export function VersionName({ version, model }: Props) {
  const name = (
    <Text as="span" fontFamily="mono" fontSize="0.95em" overflowWrap="anywhere">
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
