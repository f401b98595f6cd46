import { Field, Input } from "@chakra-ui/react";
import { useId } from "react";

interface Props {
  readonly label: string;
  readonly value: string;
  readonly change: (version: string) => void;
  /** Offered while typing; any other name may be typed too. */
  readonly known: readonly string[];
  readonly fault?: string | undefined;
  readonly help?: string;
  readonly required?: boolean;
}

/** A version's name, with the known ones to choose from. */
export function VersionField({ label, value, change, known, fault, help, required = true }: Props) {
  const id = useId();
  return (
    <Field.Root required={required} invalid={fault !== undefined}>
      <Field.Label>
        {label} {required && <Field.RequiredIndicator />}
      </Field.Label>
      <Input
        fontFamily="mono"
        list={id}
        autoComplete="off"
        spellCheck={false}
        required={false}
        aria-required={required}
        value={value}
        onChange={(event) => change(event.target.value)}
      />
      <datalist id={id}>
        {known.map((version) => <option key={version} value={version} />)}
      </datalist>
      {help && <Field.HelperText>{help}</Field.HelperText>}
      <Field.ErrorText>{fault}</Field.ErrorText>
    </Field.Root>
  );
}
