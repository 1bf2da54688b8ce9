/* How a page looks: style sheet, colours of experts, the little script. Light and dark are two sets of the same names; paper is
 * light with everything unfolded. */
#include "report_parts.h"

#define LIGHT                                                                                      \
    "--bg:#fbfbfa;--card:#fff;--ink:#1b1f26;--soft:#616977;--line:#e3e6ea;--track:#edf0f3;"        \
    "--accent:#2460c8;--c0:#2670cc;--c1:#bb5100;--c2:#127a5e;--c3:#b52f85;--c4:#2460c8;"           \
    "--c5:#7a828e;--hide:#c9ced6;--good:#127a5e;--shadow:0 1px 2px #0f172a0d;color-scheme:light"
#define DARK                                                                                       \
    "--bg:#111418;--card:#181c21;--ink:#e5e8ec;--soft:#99a2af;--line:#2b3038;--track:#242931;"     \
    "--accent:#86b4ff;--c0:#6fabf5;--c1:#f0954a;--c2:#48c29b;--c3:#e67cbf;--c4:#86b4ff;"           \
    "--c5:#8b94a1;--hide:#4a515c;--good:#48c29b;--shadow:none;color-scheme:dark"

static const char *const sheet[] = {
    /* ground */
    ":root{" LIGHT "}@media(prefers-color-scheme:dark){:root:not([data-theme=light]){" DARK "}}",
    ":root[data-theme=dark]{" DARK "}*{box-sizing:border-box}",
    "html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}",
    "body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"
    "'Segoe UI',Roboto,'Helvetica Neue',Arial,'Noto Sans','DejaVu Sans',sans-serif;"
    "font-variant-numeric:tabular-nums}",
    "main,header,footer{max-width:1160px;margin:0 auto;padding:0 28px}",
    "header{padding-top:44px}h1{font-size:31px;line-height:1.2;letter-spacing:-.018em;margin:0;"
    "font-weight:650;overflow-wrap:anywhere}h2{font-size:21px;letter-spacing:-.01em;margin:0 0 4px;"
    "font-weight:640}h3{font-size:15px;margin:30px 0 8px;font-weight:640}",
    "p{margin:0 0 12px;max-width:76ch}.about,.soft,figcaption span{color:var(--soft)}"
    ".about{margin-bottom:20px}a{color:var(--accent);text-decoration:none}a:hover{text-decoration:"
    "underline}:focus-visible{outline:2px solid "
    "var(--accent);outline-offset:2px;border-radius:4px}",
    "section{margin-top:60px;scroll-margin-top:20px}.lead{color:var(--soft);margin:8px 0 0;"
    "max-width:none}.lead b{color:var(--ink);font-weight:600}",
    ".top{display:flex;justify-content:space-between;align-items:flex-start;gap:20px}"
    "button{font:inherit;color:var(--soft);background:none;border:1px solid var(--line);"
    "border-radius:8px;padding:4px 12px;cursor:pointer;white-space:nowrap}button:hover{color:"
    "var(--ink);border-color:var(--soft)}",
    "nav{display:flex;flex-wrap:wrap;gap:4px 22px;margin-top:24px;padding:10px 0;border-top:1px "
    "solid var(--line);border-bottom:1px solid var(--line);font-size:14px}",
    /* tiles */
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(225px,1fr));gap:12px;"
    "margin:26px 0 0;padding:0}.tiles div{background:var(--card);border:1px solid var(--line);"
    "border-radius:12px;padding:13px 16px 12px;box-shadow:var(--shadow)}.tiles "
    "dt{color:var(--soft);"
    "font-size:13px}.tiles dd{margin:1px 0 0;font-size:23px;font-weight:620;letter-spacing:-.015em;"
    "line-height:1.3}.tiles small{display:block;font-size:12.5px;font-weight:400;letter-spacing:0;"
    "color:var(--soft);line-height:1.4}",
    /* cards and charts */
    ".card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px "
    "20px;"
    "box-shadow:var(--shadow)}.two{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));"
    "gap:16px}.four{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:16px;"
    "margin-top:16px}",
    "figure{margin:0}.chart{background:var(--card);border:1px solid var(--line);border-radius:14px;"
    "padding:15px 16px 8px;box-shadow:var(--shadow);min-width:0}.chart "
    "svg{display:block;width:100%;"
    "height:auto;margin-top:8px;overflow:visible}figcaption{font-size:14px;line-height:1.4}"
    "figcaption b{font-weight:620}.small figcaption{font-size:13px}",
    "svg "
    "text{font-family:inherit;fill:var(--ink)}.tick{font-size:11.5px;fill:var(--soft)!important}"
    ".small .tick{font-size:12px}.grid{stroke:var(--line);fill:none}.base{stroke:var(--soft);"
    "stroke-opacity:.5;fill:none}.name{font-size:12.5px;font-weight:600;fill:var(--c)!important}"
    ".value{font-size:12px;fill:var(--soft)!important}",
    ".c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}.c3{--c:var(--c3)}.c4{--c:var(--c4)}"
    ".c5{--c:var(--c5)}.line,.raw,.between{fill:none;stroke:var(--c);stroke-linejoin:round;"
    "stroke-linecap:round}.line{stroke-width:2}.raw{stroke-width:1;stroke-opacity:.22}.band{fill:"
    "var(--c);fill-opacity:.19}.between{"
    "stroke-width:1.2;stroke-dasharray:1 4}.dot{fill:var(--c);stroke:var(--card);stroke-width:1.5}"
    ".one{fill:var(--c)}",
    /* examples */
    ".examples{display:grid;gap:16px}.examples+.examples{margin-top:16px}.examples.three{"
    "grid-template-columns:repeat(auto-fill,minmax(330px,1fr))}.three "
    ".views.row{grid-template-columns:"
    "repeat(2,minmax(0,1fr))}.examples.two{"
    "grid-template-columns:repeat(2,minmax(0,1fr))}.ex{display:grid;grid-template-columns:minmax(0,"
    "auto) "
    "minmax(0,1fr);gap:12px 28px;align-items:start}.ex.alone{grid-template-columns:minmax(0,1fr)}"
    ".views{display:grid;grid-template-columns:repeat(2,132px);gap:12px}.views.row{grid-template-"
    "columns:repeat(4,minmax(0,1fr));max-width:580px}.views.row figure,.views.row svg{width:100%!"
    "important;height:auto!important}.views figure{width:132px}.views "
    "svg{display:block;width:132px;height:132px;"
    "border-radius:8px;border:1px solid var(--line);background:#fff}.views figcaption{font-size:"
    "12.5px;color:var(--soft);margin-top:5px;line-height:1.35}",
    ".rest{margin:12px 0 0!important}.key{font-size:12.5px;color:var(--soft);margin:0 0 "
    "10px;overflow-wrap:anywhere}"
    ".caption{font-size:16px;margin:0 0 16px;max-width:none;display:flex;flex-wrap:wrap;gap:7px "
    "5px;"
    "align-items:flex-start;overflow-wrap:anywhere}.caption>span{padding:2px "
    "0}.caption>.slot{border:"
    "1.5px dashed var(--hide);border-radius:7px;padding:1px 7px 2px;background:var(--track);"
    "white-space:nowrap;text-align:center}.slot b{display:block;font-weight:600}.slot "
    "small{display:"
    "block;font-size:11.5px;line-height:1.25;color:var(--soft)}.caption>.slot.ok{border-style:"
    "solid;"
    "border-color:var(--good)}.slot.ok b::after{content:' \\2713';color:var(--good)}",
    ".places{display:grid;grid-template-columns:repeat(auto-fill,minmax(164px,1fr));gap:14px 20px}"
    ".place{font-size:13px;min-width:0}.place p{margin:0 0 3px;font-size:12.5px;color:var(--soft);"
    "overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.place p "
    "b{color:var(--ink);font-weight:620}.place ol{list-style:none;"
    "margin:0;padding:0}.place li{display:grid;grid-template-columns:minmax(0,1fr) 44px "
    "36px;gap:7px;"
    "align-items:center;line-height:1.5}.place li span:first-child{overflow:hidden;text-overflow:"
    "ellipsis;white-space:nowrap}.place li.ok span:first-child{font-weight:620}.place li.ok "
    "span:first-child::after{content:' \\2713';color:var(--good)}.place em{font-style:normal;"
    "text-align:right;color:var(--soft);font-size:12px}",
    ".bar{display:block;height:7px;border-radius:4px;background:var(--track);overflow:hidden}"
    ".bar i{display:block;height:100%;border-radius:4px;background:var(--accent)}",
    ".hid{fill:var(--hide)}.hid2{fill:none;stroke:var(--bg);stroke-width:.035}.mark{fill:none;"
    "stroke:var(--accent);stroke-width:.03;stroke-dasharray:.1 .07}",
    /* examples of tasks */
    ".asked{display:grid;gap:10px;align-content:start}.asked img{display:block;width:132px;height:"
    "132px;border-radius:8px;border:1px solid "
    "var(--line);background:#fff}.asked.both{grid-template-columns:auto auto}.asked.both "
    "img{width:100px;height:100px}.said{font-size:16px;"
    "margin:0 0 8px;overflow-wrap:anywhere}.truth{font-size:13.5px;margin:0 0 "
    "10px;color:var(--soft);"
    "overflow-wrap:anywhere}.truth b{color:var(--ink);font-weight:620}.classes,.found,.shots{"
    "list-style:none;margin:0;padding:0;font-size:13.5px}.classes em,.found em,.shots "
    "em{font-style:"
    "normal;color:var(--soft);font-size:12.5px;text-align:right;white-space:nowrap}.classes small{"
    "color:var(--soft)}",
    ".classes li{display:grid;grid-template-columns:minmax(0,1fr) minmax(50px,38%) 54px;gap:10px;"
    "align-items:center;line-height:1.65}.found "
    "li{display:grid;grid-template-columns:minmax(0,1fr) "
    "auto;gap:12px;align-items:baseline;padding:2px 0;overflow-wrap:anywhere}.classes li.ok "
    "bdi,.found li.ok bdi{font-weight:620}.classes li.ok bdi::after,.found li.ok bdi::after,.shots "
    "li.ok span::after{content:' \\2713';color:var(--good);font-weight:620}",
    ".shots{display:grid;grid-template-columns:repeat(5,minmax(0,1fr));gap:8px}.shots li{display:"
    "flex;flex-wrap:wrap;justify-content:space-between;gap:0 4px}.shots img{display:block;width:"
    "100%;aspect-ratio:1;border-radius:8px;border:1px solid var(--line);background:#fff}.shots "
    "li.ok img{outline:3px solid var(--good);outline-offset:-1px}.shots em{text-align:left}",
    /* layers */
    ".tabs{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 18px}.tabs button[aria-selected=true]{"
    "background:var(--accent);border-color:var(--accent);color:var(--bg)}.panel>h3:first-child{"
    "margin-top:0;font-size:17px}.panel+.panel{margin-top:44px}.js .panel+.panel{margin-top:0}"
    ".js .panel>h3:first-child{position:absolute;clip-path:inset(50%);width:1px;height:1px;"
    "overflow:hidden}",
    ".loads{display:grid;grid-template-columns:auto minmax(0,1fr) 54px;gap:5px 10px;align-items:"
    "center;font-size:13px;margin-top:12px}.loads em,.loads "
    ".num{font-style:normal;text-align:right;"
    "color:var(--soft)}.load{position:relative;height:16px;background:var(--track);border-radius:"
    "5px;"
    "overflow:hidden}.load i,.load u{position:absolute;top:0;bottom:0}.load i{background:var(--e);"
    "left:0}.load u{background:repeating-linear-gradient(135deg,var(--e) 0 2px,transparent 2px "
    "5px);"
    "border-right:1px solid var(--e)}.load s{position:absolute;top:0;bottom:0;width:0;border-left:"
    "1.5px dashed var(--ink);opacity:.55}",
    ".heat{display:grid;grid-template-columns:auto minmax(0,1fr);gap:2px 8px;margin-top:12px;"
    "font-size:12px}.heat .ids{display:grid;color:var(--soft);text-align:right;font-size:11.5px;"
    "align-items:center;line-height:1}.heat img{width:100%;height:100%;min-height:0;display:block;"
    "image-rendering:pixelated;border-radius:5px;background:var(--track)}.heat "
    ".steps{grid-column:2;"
    "display:flex;justify-content:space-between;color:var(--soft)}",
    ".id{display:inline-block;min-width:21px;padding:0 5px;border-radius:5px;background:var(--e);"
    "color:var(--i);font-size:12px;font-weight:640;text-align:center;line-height:18px}",
    ".routed{display:flex;flex-wrap:wrap;gap:16px}.routed figure{width:168px}.routed "
    "figure.wide,.routed .wide svg{width:356px!important;height:auto!important}.routed svg{display:"
    "block;width:168px;height:168px;border-radius:8px;border:1px solid var(--line);background:#fff}"
    ".routed "
    "figcaption{font-size:12.5px;color:var(--soft);margin-top:5px;line-height:1.35;overflow:"
    "hidden;display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2}",
    ".cell{fill:var(--e);fill-opacity:.3;stroke:#fff;stroke-width:.025}"
    "text.n.m{font-size:.37px}.chip{fill:var(--e)}.n{fill:var(--i)!important;font-size:.25px;font-"
    "weight:680;text-anchor:"
    "middle}.cross{fill:none;stroke:#111;stroke-width:.05;stroke-linecap:round}.cross2{fill:none;"
    "stroke:#fff;stroke-width:.11;stroke-linecap:round}",
    ".words{margin:0 0 "
    "12px;line-height:2.3;max-width:none;overflow-wrap:anywhere}.w{display:inline-"
    "block;line-height:1.45;border-bottom:3px solid var(--e);padding:0 3px 0 2px;margin:0 3px 0 0;"
    "border-radius:2px;white-space:nowrap}.w.in{margin-left:-2px}.w "
    "sub{font-size:10.5px;font-weight:"
    "680;line-height:14px;padding:0 "
    "4px;margin-right:4px;border-radius:4px;background:var(--e);color:"
    "var(--i);vertical-align:1px}.w.hide{color:var(--soft);font-style:italic}.w.drop{text-"
    "decoration:"
    "line-through;background:repeating-linear-gradient(135deg,var(--hide) 0 1.5px,transparent "
    "1.5px "
    "6px)}.words q{quotes:none;color:var(--soft);font-size:12.5px;margin-right:8px}",
    ".experts{display:grid;grid-template-columns:repeat(auto-fill,minmax(255px,1fr));gap:14px}"
    ".expert{border:1px solid var(--line);border-left:5px solid "
    "var(--e);border-radius:10px;padding:"
    "11px 14px 12px;background:var(--card);min-width:0;break-inside:avoid}.expert p{margin:0 0 8px;"
    "font-size:13px;color:var(--soft)}.expert p b{color:var(--ink)}.expert img{display:block;max-"
    "width:100%;image-rendering:pixelated;background:var(--hide);border:1px solid "
    "var(--hide)}.expert ul{list-style:none;margin:0;padding:0;"
    "display:flex;flex-wrap:wrap;gap:4px 6px;font-size:13px}.expert li{background:var(--track);"
    "border-radius:6px;padding:0 7px;overflow-wrap:anywhere}.expert li small{color:var(--soft);"
    "font-size:11.5px;margin-left:4px}",
    ".legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft);margin:0 0 "
    "12px;align-items:center}.legend "
    "svg{width:18px;height:18px;vertical-align:-4px;margin-right:4px}",
    /* tables */
    ".scroll{overflow-x:auto}.scroll+.scroll{margin-top:20px}table{border-collapse:collapse;font-"
    "size:14px}th,td{text-align:left;"
    "padding:5px 22px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:"
    "600;color:var(--soft);font-size:13px}td.num,th.num{text-align:right}td code{overflow-wrap:"
    "anywhere}code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans "
    "Mono',"
    "monospace}pre{overflow:auto;background:var(--track);border-radius:10px;padding:14px 16px;"
    "margin:10px 0 0}details{margin-top:18px}summary{cursor:pointer;color:var(--accent)}",
    ".facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:4px 22px;margin:0;"
    "font-size:14px}.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}",
    ".missing{color:var(--soft);border-left:3px solid var(--hide);padding:2px 0 2px 12px}"
    ".defs{position:absolute;width:0;height:0}footer{margin-top:64px;padding-bottom:44px;color:"
    "var(--soft);font-size:13px}[hidden]{display:none!important}",
    /* narrow screens and paper */
    "@media screen and "
    "(max-width:860px){.two{grid-template-columns:minmax(0,1fr)}.ex{grid-template-columns:"
    "minmax(0,1fr)}main,header,footer{padding-left:16px;padding-right:16px}}",
    "@media screen and "
    "(max-width:560px){.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:8px}"
    ".tiles div{padding:10px 12px}.tiles dd{font-size:19px}.views{justify-content:start}}"
    "@page{margin:14mm}@media print{:root,:root[data-theme=dark]{" LIGHT ";--bg:#fff;--shadow:none}"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}body{font-size:9pt}main,header,"
    "footer{max-width:none;padding:0}header{padding-top:0}nav,button,.tabs,.screen{display:none!"
    "important}[role=tabpanel][hidden]{display:block!important}.js .panel+.panel{margin-top:28px}"
    ".js .panel>h3:first-child{position:static;clip-path:none;width:auto;height:auto}section{"
    "margin-top:26px}h3{margin-top:18px}.tiles{grid-template-columns:repeat(4,1fr);gap:8px}.tiles "
    "div{"
    "padding:8px 11px}.tiles dd{font-size:15pt}.tiles small,.tiles "
    "dt{font-size:8pt}.four{grid-template-"
    "columns:repeat(3,minmax(0,1fr));gap:9px;margin-top:9px}.two,.examples{gap:9px}.card,.chart{"
    "padding:"
    "10px 12px}.ex{gap:8px 16px}.views{grid-template-columns:repeat(2,92px);gap:8px}.views "
    "figure,.views "
    "svg{width:92px}.views svg{height:92px}.ex.alone .views svg{height:76px;width:76px}.ex.alone "
    ".views "
    "figure{width:76px}.caption,.said{font-size:10pt}.asked "
    "img{width:92px;height:92px}.asked.both "
    "img{width:66px;height:66px}.truth,.classes,.found,.shots{font-size:8.5pt}.places{grid-"
    "template-columns:repeat(4,1fr);gap:8px "
    "14px}.two .places{grid-template-columns:repeat(2,1fr)}.place "
    "li{grid-template-columns:minmax(0,1fr) 26px "
    "27px;gap:5px}.flow{break-inside:auto!important}footer{margin-top:20px;padding:0}"
    ".place,.place p{font-size:8pt}.routed{gap:9px}.routed figure,.routed svg{width:118px}.routed "
    "svg{"
    "height:118px}.experts{grid-template-columns:repeat(3,1fr);gap:9px}.words{line-height:2}.card,."
    "chart,figure,.ex,.place,.loads>*{break-inside:avoid}h2,h3,.about{"
    "break-after:avoid}pre{white-space:pre-wrap}}",
};

/* Hues after Okabe and Ito's idea: eight that stay apart for colour-blind eyes also by their lightness. */
static const uint8_t hues[8][3] = {{43, 108, 196}, {230, 126, 24}, {26, 150, 118}, {190, 66, 142},
                                   {94, 190, 232}, {186, 158, 20}, {122, 96, 200}, {160, 68, 44}};

/* Channel c of class k: plain, lighter, darker, paler. */
static int channel_of(int k, int c)
{
    int base = hues[k % 8][c];
    switch (k / 8) {
    case 1:
        return (base * 52 + 255 * 48) / 100;
    case 2:
        return base * 58 / 100;
    case 3:
        return (base * 45 + 150 * 55) / 100;
    default:
        return base;
    }
}

static void put_experts(vlm_text *out)
{
    for (int k = 0; k < VLM_EXPERT_CLASSES; k++) {
        int r = channel_of(k, 0), g = channel_of(k, 1), b = channel_of(k, 2);
        bool is_light = 299 * r + 587 * g + 114 * b > 138 * 1000; /* luma of ITU-R BT.601 */
        vlm_text_put(out, ".e%d{--e:#%02x%02x%02x;--i:%s}", k, (unsigned)r, (unsigned)g,
                     (unsigned)b, is_light ? "#14181d" : "#fff");
    }
}

void vlm_report_style(vlm_text *out)
{
    vlm_text_put(out, "<style>");
    for (int i = 0; i < VLM_COUNT(sheet); i++) vlm_text_put(out, "%s\n", sheet[i]);
    put_experts(out);
    vlm_text_put(out, "</style>\n");
}

static const char *const script[] = {
    "(function(){var d=document,r=d.documentElement,b=d.getElementById('theme');"
    "r.classList.add('js');b.hidden=false;",
    "function dark(){return r.dataset.theme?r.dataset.theme==='dark':"
    "matchMedia('(prefers-color-scheme:dark)').matches}",
    "function name(){b.textContent=dark()?'Light':'Dark';"
    "b.setAttribute('aria-label','switch to '+b.textContent.toLowerCase()+' colours')}",
    "var asked=/[?&]theme=(dark|light)\\b/.exec(location.search);"
    "if(asked)r.dataset.theme=asked[1];",
    "b.onclick=function(){r.dataset.theme=dark()?'light':'dark';name()};name();",
    "d.querySelectorAll('.layers').forEach(function(box){"
    "var panels=[].slice.call(box.querySelectorAll('.panel'));if(panels.length<2)return;"
    "var bar=d.createElement('div');bar.className='tabs';bar.setAttribute('role','tablist');",
    "function show(k,focus){panels.forEach(function(p,i){p.hidden=i!==k;"
    "bar.children[i].setAttribute('aria-selected',i===k);bar.children[i].tabIndex=i===k?0:-1});"
    "if(focus)bar.children[k].focus()}",
    "panels.forEach(function(p,i){var t=d.createElement('button');t.textContent=p.dataset.name;"
    "t.setAttribute('role','tab');t.setAttribute('aria-controls',p.id);"
    "p.setAttribute('role','tabpanel');t.onclick=function(){show(i)};",
    "t.onkeydown=function(e){var n=panels.length;if(e.key==='ArrowRight')show((i+1)%n,true);"
    "if(e.key==='ArrowLeft')show((i+n-1)%n,true)};bar.appendChild(t)});",
    "box.insertBefore(bar,panels[0]);show(0)})})();",
};

void vlm_report_script(vlm_text *out)
{
    vlm_text_put(out, "<script>");
    for (int i = 0; i < VLM_COUNT(script); i++) vlm_text_put(out, "%s\n", script[i]);
    vlm_text_put(out, "</script>\n");
}
