// Writes tricky.json: strings that tokenizers stumble over, and their ids as two encoders give them that share no code
// with this project: npm's gpt-tokenizer 4.0.0 (r50k_base) and gpt-3-encoder 1.1.4. README.md says where they differ.
//
//   npm install gpt-tokenizer@4.0.0 gpt-3-encoder@1.1.4 js-tiktoken@1.0.21 && node tricky.mjs > tricky.json
import { createRequire } from 'node:module';
const require = createRequire(process.cwd() + '/');
const r50k = require('gpt-tokenizer/encoding/r50k_base');
const gpt3 = require('gpt-3-encoder');
const { Tiktoken } = require('js-tiktoken/lite');
const ranks = require('js-tiktoken/ranks/gpt2');

const END = '<|endoftext|>';

function* fixed() {
  for (let n = 1; n <= 40; n++) yield ' '.repeat(n);
  for (let n = 1; n <= 9; n++) {
    yield ' '.repeat(n) + 'word';
    yield 'word' + ' '.repeat(n);
    yield 'a' + ' '.repeat(n) + 'b';
    yield '\n'.repeat(n);
    yield '\t'.repeat(n) + 'x';
    yield ' '.repeat(n) + '\n' + ' '.repeat(n) + 'x';
    yield '\r\n'.repeat(n) + 'x\r\n';
    yield '7'.repeat(n) + ' ' + '0'.repeat(n);
    yield '!'.repeat(n) + ' ' + '-'.repeat(n) + '='.repeat(n);
  }
  for (const tail of ['s', 't', 're', 've', 'm', 'll', 'd', 'x', 'S', 'T', 'RE', 'VE', 'M', 'LL', 'D', 'Re', 'lL']) {
    yield `it'${tail}`;
    yield `it '${tail}`;
    yield `IT'${tail}ing`;
    yield `it\u2019${tail}`;
    yield `'${tail}`;
    yield `''${tail}'`;
  }
  yield* [
    'a1b2c3', '1a2b3c', '3.14159e-10', '1,000,000.00', '0x7fffffff', '2nd 3rd 4th', 'x² + y³ = z¹', 'Ⅷ ⅷ ½ ¼ ¾', '٣٤٥ ४५६ ๗๘๙',
    '１２３ ＡＢＣ', '①②③', '00000000000000000000000000000001', '1'.repeat(100),
    '😀', '😀😀😀', ' 😀 😀', '👩‍👩‍👧‍👦', '👩🏽‍🚀', '🏳️‍🌈', '🇩🇪🇫🇷🇯🇵', '1️⃣2️⃣', '❤️', '☺︎', '😀a😀1😀!', '🫠🫡', '🤷🏿‍♀️ shrug',
    'สวัสดีชาวโลก', 'ภาษาไทยไม่มีช่องว่าง 123', 'नमस्ते दुनिया', 'हिन्दी में क्ष त्र ज्ञ', 'مرحبا بالعالم', 'السَّلَامُ عَلَيْكُمْ', 'שָׁלוֹם עולם',
    '你好，世界！', '日本語とカタカナとひらがな', '한국어 문장입니다.', 'ㅎㅏㄴ', 'Привет, мир! Ёжик', 'Ελληνικά ἄνθρωπος', 'Հայերեն', 'ქართული',
    'தமிழ் தெலுగు ಕನ್ನಡ', 'বাংলা', 'မြန်မာ', 'ខ្មែរ', 'አማርኛ', 'ᏣᎳᎩ', 'ᐃᓄᒃᑎᑐᑦ', '𝕳𝖊𝖑𝖑𝖔 𝓦𝓸𝓻𝓵𝓭', '𐍈𐌰𐌹', '𓀀𓀁', '𠮷野家',
    'e\u0301 e\u0301e\u0301 cafe\u0301', 'Z\u0351\u036b\u0343\u036a\u0302a\u0364\u034f\u0321l\u0338g\u0321o\u0362', '\u0301', ' \u0301a',
    'ﬁ ﬂ ß ẞ ı İ', 'naïve façade Ångström', 'A\u030angstro\u0308m', 'ǅ ǆ Ǆ', 'ª º', 'x\u2032 y\u2033', '\u02bcn \u02c8a',
    'a\u00a0b', '\u00a0\u00a0 a', 'a\u2003b\u2009c\u3000d', '\u200b', 'zero\u200bwidth\u200djoin\u200cner', '\u2028\u2029', 'soft\u00adhyphen',
    '\u202eright to left\u202c', 'word\u2060joiner', '\ufffd \ufffc', '\u0000', 'a\u0000b', '\u0001\u0002\u0003\u0007\b\u000b\f\u000e\u007f', '\u001b[31mred\u001b[0m',
    '\u0080\u0081\u009f', '\ue000\uf8ff', '\u{10ffff}', '\u{1f600}\u{10000}',
    'constructor', '__proto__', 'toString hasOwnProperty', 'undefined null NaN', '{"a": [1, 2, {"b": null}]}', '<html lang="en">&nbsp;</html>',
    'for (int i = 0; i < n; i++) {\n\treturn a[i] >> 3;\n}\n', 'def f(x):\n    return x ** 2\n\n\n', '#!/bin/sh\r\nset -e\r\n', 'SELECT * FROM t WHERE a != \'b\';',
    'C:\\Users\\x', 'user@example.org', 'https://example.org/a_b?c=d&e=%20f#g', '$1,234.56 €5 £6 ¥7', '«quoted» “quoted” ‘quoted’ „quoted“', '…—–‒―',
    '(((((', ')))))', '[[]]{{}}<<>>', '"""', "'''", '```', '***bold***', '____', '~~~~', '@@@', '\\\\n', '|||', '<|', '|>', '<|endoftext', 'endoftext|>', '<|END|>',
    '<| endoftext |>', '<|endoftext|', '||endoftext||',
    'supercalifragilisticexpialidocious', 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft', 'a'.repeat(300), 'ab'.repeat(200),
    'x'.repeat(64) + 'y'.repeat(64), 'The '.repeat(60), 'The'.repeat(60), 'é'.repeat(100), '日'.repeat(100), '\u0e01'.repeat(60), '😀'.repeat(40), 'aA'.repeat(90),
    'SolidGoldMagikarp', ' SolidGoldMagikarp', ' rawdownloadcloneembedreportprint', 'ÃÂÃÂÃÂÃÂ', ' TheNitromeFan', '\u00c3\u00c2', 'Ġ Ċ ĉ', 'ĠĠĠ',
    'iPhone12Pro', 'HTTPServer2', 'CamelCaseAndsnake_case', 'ALL CAPS SHOUTING', 'x'.repeat(3) + '\n\n' + 'y', 'a\n', '\na', ' \n a', '\t \t', ' \t\n\r\f\u000b ',
    'end.', 'end. ', 'end.  Next', 'end.\n\nNext', '- item\n- item\n', '  - nested\n    - more', 'Mr. O\'Neill\'s dogs\'', 'rock\'n\'roll', "y'all'd've", "'tis 'twas",
  ];
}

// Special tokens: gpt-3-encoder has none, so it judges what lies between them, and js-tiktoken takes the place of the other.
function* special() {
  yield* [END, END + END, 'a' + END, END + 'a', ' ' + END + ' ', 'one' + END + 'two', 'one ' + END + ' two', '\n' + END + '\n', END + ' ' + END, '日本' + END + '語',
    "it" + END + "'s", '<' + END + '>', '<|endoftext|' + END];
}

// Strings drawn from pieces of all kinds, by a generator anybody can write down: x <- 1664525 x + 1013904223 mod 2^32.
function* drawn() {
  const pieces = ['a', 'B', 'the', ' of', 'ing', "'s", "'LL", '’t', ' ', '  ', '   ', '\n', '\r\n', '\t', '0', '42', ' 1999', '.', ',', '!?', '--', '_', '"', '(', '):',
    'é', 'ß', 'Ж', ' мир', 'ض', 'ال', 'न', 'म्', 'ไทย', '中', '文字', 'カ', '한', '😀', '👍🏽', '\u200d', '\u0301', '\u00a0', '\u2003', '½', '²', '٣', '\u0000', '\u007f', '€', '→',
    'ﬁ', '𝔘', '<|', '|>', '://', '\\', 'x', 'Z', 'qu', '\f'];
  let x = 20240229;
  const draw = n => { x = (Math.imul(x, 1664525) + 1013904223) >>> 0; return Math.floor(x / 65536) % n; };
  for (let i = 0; i < 600; i++) {
    let text = '';
    for (let n = 1 + draw(14); n > 0; n--) text += pieces[draw(pieces.length)];
    yield text;
  }
}

const results = new Map();
const add = (text, ids, expected) => {
  if (JSON.stringify(ids) !== JSON.stringify(expected)) throw new Error(`two encoders differ about ${JSON.stringify(text)}: ${ids} and ${expected}`);
  results.set(text, ids);
};
for (const text of [...fixed(), ...drawn()]) add(text, r50k.encode(text), gpt3.encode(text));
const tiktoken = new Tiktoken(ranks);
for (const text of special()) add(text, tiktoken.encode(text, 'all'), text.split(END).flatMap((part, i) => [...(i ? [50256] : []), ...gpt3.encode(part)]));

const ascii = text => JSON.stringify(text).replace(/[^ -~]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
console.log('[\n' + [...results].map(([text, ids]) => `{"text":${ascii(text)},"ids":${JSON.stringify(ids)}}`).join(',\n') + '\n]');
