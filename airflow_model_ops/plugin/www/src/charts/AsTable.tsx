import { Box, Table } from "@chakra-ui/react";
import { useState, type ReactNode } from "react";

interface Props {
  readonly caption: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly key: string; readonly cells: readonly ReactNode[] }[];
}

/** The numbers behind a chart, for whoever does not see it or wants to copy them. Made when it is opened. */
export function AsTable({ caption, columns, rows }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <Box asChild fontSize="sm" mt={2}>
      <details
        onToggle={(event) => {
          setOpen(event.currentTarget.open);
        }}
      >
        <Box as="summary" color="fg.muted" cursor="pointer" width="fit-content">
          As a table
        </Box>
        {open && (
          <Box aria-label={caption} maxH="20rem" mt={2} overflow="auto" role="region" tabIndex={0}>
            <Table.Root size="sm">
              <Table.Caption captionSide="top" mt={0} textAlign="start">
                {caption}
              </Table.Caption>
              <Table.Header>
                <Table.Row>
                  {columns.map((column) => (
                    <Table.ColumnHeader key={column} scope="col">
                      {column}
                    </Table.ColumnHeader>
                  ))}
                </Table.Row>
              </Table.Header>
              <Table.Body>
                {rows.map(({ key, cells }) => (
                  <Table.Row key={key}>
                    {cells.map((cell, index) => (
                      <Table.Cell key={columns[index] ?? index}>{cell}</Table.Cell>
                    ))}
                  </Table.Row>
                ))}
              </Table.Body>
            </Table.Root>
          </Box>
        )}
      </details>
    </Box>
  );
}
