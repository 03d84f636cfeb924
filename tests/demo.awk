# Draws what tests/demo.sh prints, as an SVG: awk -f tests/demo.awk <TEXT >docs/demo.svg
# The picture brings its own background, so it can be read on a light page and on a dark
# one. Each cell is put at its column, so any monospaced font will do.

BEGIN { LINE = 20; CHARACTER = 8.4; MARGIN = 24 }

{ text[NR] = $0; if (length($0) > widest) widest = length($0) }

function escaped(cell) { gsub(/&/, "\\&amp;", cell); gsub(/</, "\\&lt;", cell); return cell }

# The table is what stands between its heads and an empty line.
function class_of(column) {
  if (text[row] ~ /WITHOUT THE HOOK/) return "head"
  if (!with || column < without) return "label"
  return column < with ? "without" : "with"
}

# Cells are two spaces or more apart.
function draw(line, column) {
  while (match(line, /[^ ]+( [^ ]+)*/)) {
    column += RSTART
    printf "<text x=\"%.1f\" y=\"%d\" class=\"%s\">%s</text>\n",
      MARGIN + (column - 1) * CHARACTER, MARGIN + row * LINE - 6, class_of(column),
      escaped(substr(line, RSTART, RLENGTH))
    line = substr(line, RSTART + RLENGTH)
    column += RLENGTH - 1
  }
}

END {
  width = 2 * MARGIN + widest * CHARACTER
  height = 2 * MARGIN + NR * LINE
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\"\n",
    width, height, width, height
  print " font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#c9d1d9\">"
  print "<title>What make demo prints: two containers at one port, without and with the hook</title>"
  print "<style>"
  # Of a palette that the colour-blind can tell apart.
  print ".head { font-weight: bold; fill: #ffffff } .without { fill: #e69f00 } .with { fill: #56b4e9 }"
  print "</style>"
  print "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>"
  for (row = 1; row <= NR; row++) {
    if (text[row] == "") with = 0
    if (text[row] ~ /WITHOUT THE HOOK/) {
      without = index(text[row], "WITHOUT THE HOOK")
      with = index(text[row], "WITH THE HOOK")
    }
    draw(text[row], 0)
  }
  print "</svg>"
}
