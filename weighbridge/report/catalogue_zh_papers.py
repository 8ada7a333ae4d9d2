# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for a package's papers: contract, bill of materials, signature; see catalogue_zh.py."""

ZH = {
    "Components in the bill of materials": "物料清单中的组件数",
    "CycloneDX 1.6: model, data, recipe, and each library that answers with or made the package, by exact version": "CycloneDX 1.6：模型、数据、配方，以及应答时所需和制作部署包时所用的每个库及其确切版本",
    "Ed25519 over the manifest, which lists every file with its SHA-256": "对清单的 Ed25519 签名，清单列出每个文件及其 SHA-256",
    "Signature of the package": "部署包的签名",
    "What the package promises in service": "部署包在服务中的承诺",
    "nothing shows who made the package; deployment.sign.key signs it, or: weigh deploy sign PACKAGE --key FILE": "无从得知部署包出自何人；可用 deployment.sign.key 签名，或运行：weigh deploy sign PACKAGE --key FILE",
    "outputs from test rows, inputs from validation rows; no count of less than {fewest} rows is kept": "输出取自测试样本，输入取自验证样本；不保留少于 {fewest} 个样本的计数",
    "whoever has the public key {name} can tell that the package is the maker's": "持有公钥 {name} 者可以确认部署包出自其制作者",
    "{metric}, class mix, calibration and answers of {rows} test rows, and {columns} input columns as held-out rows have them, travel in the package with its price and load": "{rows} 个测试样本上的 {metric}、类别构成、校准与答案，{columns} 个输入列在留出样本中的分布，以及价格与负载，随部署包一同交付",
    "{metric}, class mix, calibration and answers of {rows} test rows, and {columns} input columns as held-out rows have them, travel in the package; load is not measured": "{rows} 个测试样本上的 {metric}、类别构成、校准与答案，以及 {columns} 个输入列在留出样本中的分布，随部署包一同交付；负载未测量",
}
