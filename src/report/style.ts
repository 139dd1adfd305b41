/** The page's style sheet. Colours come in pairs, for light and dark; text on them has a contrast of at least 4.5 to 1. */
export const STYLE = `
:root{color-scheme:light dark;
--page:light-dark(#f7f8f8,#101315);--panel:light-dark(#ffffff,#171b1e);--text:light-dark(#1a1f24,#e4e8eb);--soft:light-dark(#57626d,#9ba7b1);
--line:light-dark(#dde2e6,#2b3237);--control:light-dark(#8a96a1,#66727c);--accent:light-dark(#1f57c3,#8db4ff);--mark:light-dark(#a3246b,#ff9ed0);
--kept:light-dark(#e3e9e7,#27312f);--kept-text:light-dark(#2d3d39,#bccbc6);
--again:light-dark(#f6e3b4,#4a3c17);--again-text:light-dark(#4d3a05,#f7e2ac);
--changed:light-dark(#f8c9b0,#66321d);--changed-text:light-dark(#5a2208,#ffd9c7);
--new:light-dark(#bfd5fb,#1f4178);--new-text:light-dark(#0d2f6b,#d6e4ff);
--step0:light-dark(#e6ecf2,#252d34);--step1:light-dark(#cfdef0,#263e57);--step2:light-dark(#b2ccef,#295075);--step3:light-dark(#93b7ea,#2c5f90);--step4:light-dark(#74a1e2,#336ea9);
--strong:light-dark(#10151a,#ffffff);--step-text:light-dark(#0f2440,#eef4fb)}
:root[data-theme=light]{color-scheme:light}
:root[data-theme=dark]{color-scheme:dark}
*{box-sizing:border-box}
[hidden]{display:none!important}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1440px;padding:24px clamp(12px,3vw,40px) 40px;background:var(--page);color:var(--text);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
h1,h2,h3,h4,p,dl,dd,ul,ol{margin:0;padding:0}
h1{font-size:22px;line-height:1.25;font-weight:600;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:16px;font-weight:600;margin:36px 0 10px}
ul,ol{list-style:none}
button,input{font:inherit;color:inherit}
button{cursor:pointer}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.hint{color:var(--soft);font-size:13.5px}
.unseen:not(caption),caption.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.skip{position:absolute;left:-999px}
.skip:focus{left:12px;top:8px;padding:6px 12px;background:var(--panel);z-index:9}
header{display:flex;gap:16px;justify-content:space-between;align-items:flex-start}
.plain{background:var(--panel);border:1px solid var(--line);border-radius:7px;padding:5px 13px;font-size:13.5px;flex:none}
.plain:hover{border-color:var(--control)}
.figures{display:flex;flex-wrap:wrap;gap:1px;margin:20px 0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.figures div{flex:1 1 140px;background:var(--panel);padding:12px 16px}
.figures dt{color:var(--soft);font-size:13px}
.figures dd{font-size:20px;font-weight:600;line-height:1.35;font-variant-numeric:tabular-nums;letter-spacing:-.01em}
.figures small{display:block;color:var(--soft);font-size:12.5px;font-weight:400;letter-spacing:0}
.advice{margin:0 0 20px;padding:10px 16px;background:var(--panel);border:1px solid var(--line);border-left:4px solid var(--accent);border-radius:8px}
.tools{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center;margin-bottom:10px}
.search{flex:0 1 280px}
#search{width:100%;padding:7px 11px;background:var(--panel);border:1px solid var(--control);border-radius:7px}
#search::placeholder{color:var(--soft);opacity:1}
#result{color:var(--soft);font-size:13.5px;font-variant-numeric:tabular-nums}
#legend{display:flex;flex-wrap:wrap;gap:4px 10px;align-items:center;margin-left:auto;color:var(--soft);font-size:13px}
#legend ul{display:flex;flex-wrap:wrap;gap:4px 10px}
#legend li,#legend button{display:flex;align-items:center;gap:6px}
#legend button{padding:3px 10px 3px 5px;background:none;border:1px solid transparent;border-radius:7px;color:var(--text)}
#legend button:hover{border-color:var(--line)}
#legend button[aria-pressed=true]{background:var(--panel);border-color:var(--control)}
.swatch{display:inline-flex;align-items:center;justify-content:center;flex:none;width:18px;height:18px;border-radius:4px;font-size:12px;font-weight:600;line-height:1;vertical-align:-4px}
td .swatch{width:11px;height:11px;border-radius:3px;margin-right:9px;vertical-align:-1px}
#paths tbody th{position:relative;padding-left:34px}
#paths th .swatch{position:absolute;left:14px;top:11px;width:11px;height:11px;border-radius:3px}
#paths thead th:first-child{padding-left:34px}
#paths td{white-space:nowrap}
.fate-kept{background:var(--kept);color:var(--kept-text)}
.fate-again{background:repeating-linear-gradient(135deg,transparent 0 5px,color-mix(in srgb,var(--again-text) 11%,transparent) 5px 6.5px) var(--again);color:var(--again-text)}
.fate-changed{background:radial-gradient(color-mix(in srgb,var(--changed-text) 17%,transparent) 1px,transparent 1.3px) 0 0/7px 7px var(--changed);color:var(--changed-text)}
.fate-new{background:var(--new);color:var(--new-text)}
.chance-0{background:var(--step0)}.chance-1{background:var(--step1)}.chance-2{background:var(--step2)}.chance-3{background:var(--step3)}.chance-4{background:var(--step4)}
[class*=chance-]{color:var(--step-text)}
.panes{display:grid;grid-template-columns:minmax(0,1fr) 320px;gap:16px;align-items:start}
#map{position:relative;height:clamp(380px,66vh,760px);touch-action:manipulation}
.frame{position:absolute;background:var(--panel);border:1px solid var(--line);border-radius:5px;overflow:hidden;pointer-events:none}
.frame span{display:block;padding:0 5px;font-size:11.5px;line-height:18px;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis;font-variant-numeric:tabular-nums}
.tile{position:absolute;display:flex;flex-direction:column;justify-content:flex-start;align-items:stretch;margin:0;padding:2px 5px;border:0;border-radius:2px;box-shadow:inset 0 0 0 .5px var(--panel);overflow:hidden;text-align:left;font-size:12px;line-height:16px;transition:opacity .12s}
.tile span{display:block;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
.tile .size{font-size:11.5px;font-variant-numeric:tabular-nums}
.tile:empty{padding:0}
.tile.many{justify-content:center;border:1px dashed var(--control);color:var(--strong);padding:0 2px;text-align:center}
#map.filtering .tile:not(.match){opacity:.22}
#map.relating .tile:not(.lit,.needs,.needed-by){opacity:.4}
#map.filtering.relating .tile:not(.match,.lit,.needs,.needed-by){opacity:.15}
.tile.needs{outline:2px solid var(--accent);outline-offset:-2px}
.tile.needed-by{outline:2px dashed var(--mark);outline-offset:-2px}
.tile.lit,.tile[aria-pressed=true],.tile:focus-visible{outline:3px solid var(--text);outline-offset:-2px;opacity:1!important;z-index:2}
#details{position:sticky;top:16px;max-height:clamp(380px,66vh,760px);overflow:auto;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:14px 16px;font-size:13.5px}
#details:focus{outline:none}
#details:focus-visible{outline:2px solid var(--accent)}
h3{font-size:15px;font-weight:600;line-height:1.35;overflow-wrap:anywhere}
h4{display:flex;align-items:center;gap:7px;margin:16px 0 4px;font-size:13px;font-weight:600}
h4 .count{color:var(--soft);font-weight:400;margin-left:auto;font-variant-numeric:tabular-nums}
.key{width:12px;height:12px;border-radius:2px}
.key.needs{border:2px solid var(--accent)}
.key.needed-by{border:2px dashed var(--mark)}
.path{color:var(--soft);font:12px/1.45 ui-monospace,"SF Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere;margin:3px 0 12px}
#details dl{display:grid;grid-template-columns:auto 1fr;gap:3px 14px}
#details dt{color:var(--soft)}
.paths li{display:flex;gap:10px;justify-content:space-between;align-items:baseline}
.link{background:none;border:0;padding:1px 0;text-align:left;color:var(--accent);overflow-wrap:anywhere;min-width:0}
.link:hover{text-decoration:underline}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;background:var(--panel);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,thead td,td{padding:6px 14px;text-align:left;font-weight:400;vertical-align:baseline}
th.number,td.number{text-align:right}
thead th{color:var(--soft);font-size:13px;white-space:nowrap;border-bottom:1px solid var(--line)}
thead td{border-bottom:1px solid var(--line)}
thead button{background:none;border:0;padding:2px 0;color:inherit}
thead button:hover{color:var(--text)}
th[aria-sort]{color:var(--text)}
th[aria-sort] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
tbody tr+tr>*{border-top:1px solid color-mix(in srgb,var(--line) 60%,transparent)}
tbody tr:hover,tr.pinned{background:color-mix(in srgb,var(--accent) 8%,transparent)}
.bar-cell{padding:0}
rect{fill:var(--control)}
.nowrap{white-space:nowrap}
.held{overflow-wrap:anywhere;min-width:170px}
.why{color:var(--soft)}
#paths .plain{margin-top:12px}
footer{margin-top:28px;max-width:80ch}
@media (max-width:900px){.panes{grid-template-columns:minmax(0,1fr)}#details{position:static;max-height:none}#legend{margin-left:0}}
@media (max-width:560px){body{padding-top:16px}h1{font-size:19px}#map{height:clamp(340px,70vh,520px)}.search{flex:1 1 100%}.figures div{flex-basis:calc(50% - 1px)}th,td,thead td{padding:6px 10px}.bar-cell{display:none}#paths th:first-child{min-width:190px}.why{white-space:nowrap}}
@media (prefers-reduced-motion:reduce){*{transition:none!important;scroll-behavior:auto!important}}
@media (forced-colors:active){.tile{border:1px solid CanvasText}}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:12px}.search,#result,#theme,#details,.skip,.plain{display:none!important}.panes{display:block}#map{height:120mm;break-inside:avoid}.tile,.frame,.swatch,rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}.tile{opacity:1!important}.scroll{border:0;overflow:visible}thead{display:table-header-group}h2,thead{break-after:avoid}.bar-cell{display:none}th,td,thead td{padding:3px 8px}tr{break-inside:avoid}}
`;
