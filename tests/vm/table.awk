# A table of rows and kernels, from SEMANTICS.md, which has the rows and the
# oldest kernel of each, and the outputs of the machines:
#   awk -f table.awk SEMANTICS.md 5.10/output 6.1/output ...
# Ends with the numbers of trials that passed, failed and were skipped.

# Whether a text names a newer kernel than this one.
function names_newer(text, kernel,    word, words, count, have, want) {
  split(kernel, have, /[.-]/)
  count = split(text, words, /[^0-9.]+/)
  for (word = 1; word <= count; word++) {
    if (split(words[word], want, /[.]/) == 2 &&
      (want[1] + 0 > have[1] + 0 || (want[1] + 0 == have[1] + 0 && want[2] + 0 > have[2] + 0)))
      return 1
  }
  return 0
}

function cell(row, kernel,    text, many) {
  many = passed[row, kernel]
  if (many) text = many (names_newer(floors[row], kernel) ? " below" : "")
  if (failed[row, kernel]) text = text (text ? ", " : "") failed[row, kernel] " FAILED"
  if (skipped[row, kernel]) text = text (text ? ", " : "") skipped[row, kernel] " skipped"
  return text ? text : "-"
}

function add_row(row) {
  if (!(row in known)) { known[row] = 1; rows[++row_count] = row }
}

/^\| [A-Z][0-9]+ \| / { split($0, field, / *\| */); add_row(field[2]); floors[field[2]] = field[5]; next }
/^Linux / { kernel = $2; kernels[++kernel_count] = kernel; next }
/^=== / { binary = $2; next }
/^test .* \.\.\. (ok|FAILED|ignored)/ {
  row = binary == "scenarios" && ($2 in known) ? $2 : binary
  add_row(row)
  ran[row] = 1
  if ($0 ~ /\.\.\. ok$/) { passed[row, kernel]++; total_passed++ }
  else if ($0 ~ /\.\.\. FAILED$/) { failed[row, kernel]++; total_failed++ }
  else { skipped[row, kernel]++; total_skipped++ }
}

END {
  printf "%-10s", "row"
  for (k = 1; k <= kernel_count; k++) { name = kernels[k]; sub(/[+-].*/, "", name); printf " %16s", name }
  print ""
  for (r = 1; r <= row_count; r++) {
    if (!ran[rows[r]]) continue
    printf "%-10s", rows[r]
    for (k = 1; k <= kernel_count; k++) printf " %16s", cell(rows[r], kernels[k])
    print ""
  }
  print "below: the row holds from a newer kernel on, see SEMANTICS.md; what is said of older ones was checked"
  print total_passed + 0, total_failed + 0, total_skipped + 0
}
