/** How something looks: a sign and a word beside its colour, for eyes that see no colours. */
export interface Sign {
  readonly sign: string;
  readonly words: string;
  readonly palette: string;
}
