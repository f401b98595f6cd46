"""The judge: whether a canary harms, is safe, or neither is shown yet, with stated error rates however often it is asked."""
