// node validate.cjs FILE… : one line of JSON per file with the Khronos validator's counts and messages.
const fs = require("fs");
const validator = require("gltf-validator");
(async () => {
  for (const file of process.argv.slice(2)) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)), { maxIssues: 50 });
    const { numErrors, numWarnings, numInfos, messages } = report.issues;
    console.log(JSON.stringify({ file, errors: numErrors, warnings: numWarnings, infos: numInfos, messages }));
  }
})();
