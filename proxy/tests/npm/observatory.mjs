// Scans sites on localhost with the Observatory's own code, and prints score, grade and each test's
// result as JSON. Its argument is a JSON list of { "http": PORT, "https": PORT }.
import { writeFileSync } from "node:fs";

const root = new URL("./node_modules/@mdn/mdn-http-observatory/", import.meta.url);
// The list of preloaded hosts is no part of the package; localhost is not on it.
writeFileSync(new URL("conf/hsts-preload.json", root), "{}");
const load = (path) => import(new URL(path, root));
const { retrieve } = await load("src/retriever/retriever.js");
const { ALL_TESTS } = await load("src/constants.js");
const { getGradeForScore, getScoreModifier } = await load("src/grader/grader.js");
const { MINIMUM_SCORE_FOR_EXTRA_CREDIT } = await load("src/grader/charts.js");

async function scan({ http, https }) {
  const seen = await retrieve("localhost", { httpPort: http, httpsPort: https });
  if (!seen.responses.https) throw new Error(`nothing on port ${https}`);
  const tests = {};
  let [score, bonus] = [100, 0];
  for (const test of ALL_TESTS) {
    const { name } = test(seen).constructor;
    const { result } = test(seen);
    const modifier = getScoreModifier(result);
    tests[name] = { result, score: modifier };
    if (modifier < 0) score += modifier;
    else bonus += modifier;
  }
  if (score >= MINIMUM_SCORE_FOR_EXTRA_CREDIT) score += bonus;
  return { ...getGradeForScore(score), tests };
}

const results = [];
for (const site of JSON.parse(process.argv[2])) results.push(await scan(site));
console.log(JSON.stringify(results));
