# The closure of the fixtures: a leaf, a path that refers to itself, one with a strange name, and an application.
let
  run = name: builder: script: attributes:
    derivation ({ inherit name builder; system = builtins.currentSystem; args = [ "-c" script ]; } // attributes);
  text = name: script: deps: run name "/bin/sh" script { inherit deps; };
in
rec {
  leaf = text "leaf-1.0" "echo leaf > $out" [ ];
  self = text "self-2.1" "echo $out > $out" [ ];
  mid = text "mid_with.odd+name-3?=x" "echo $deps > $out" [ leaf self ];
  app = text "app-4.0" "echo $deps $out > $out" [ mid leaf ];

  referencesGraph = run "references-graph" "/bin/sh" "while read -r l; do echo \"$l\"; done < closure > $out" {
    exportReferencesGraph = [ "closure" app ];
  };
  attrsOneGraph = run "graph-attrs" "/bin/bash" ". ./.attrs.sh; /bin/cat .attrs.json > \${outputs[out]}" {
    __structuredAttrs = true;
    exportReferencesGraph.graph = [ app ];
    notAGraph = [ { x = 1; } ];
  };
  attrsTwoGraphs = run "graph-attrs2" "/bin/bash" ". ./.attrs.sh; /bin/cat .attrs.json > \${outputs[out]}" {
    __structuredAttrs = true;
    exportReferencesGraph = { app = [ app ]; first = [ mid ]; };
  };
}
